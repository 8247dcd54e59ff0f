"""Keys and values of running requests: one slot each, written by position, so lengths may differ.

The model's own forward is used: it hands new keys and values to ``update`` and attends to what it
gets back. Key index equals token position, so the mask of a row is simply ``key ≤ position``;
padded tokens are written to a trash position past the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache


@dataclass(frozen=True)
class Batch:
    """A ragged batch for one forward: all tensors [rows, longest] except ``last`` [rows, 1]."""

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    last: Tensor


class SlotCache(Cache):
    """``slots`` sequences of at most ``capacity`` tokens; layers are allocated when first used."""

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__(layers=[])
        self.slots = slots
        self.capacity = capacity
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._rows = torch.empty(0, dtype=torch.long)
        self._positions = torch.empty(0, dtype=torch.long)
        self._length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The model is always given positions and a mask, so it never needs a length."""
        return 0

    def prepare(self, rows: Sequence[int], starts: Sequence[int], tokens: Sequence[Sequence[int]],
                dtype: torch.dtype) -> Batch:  # fmt: skip
        """Lay out ``tokens[i]`` for slot ``rows[i]`` from position ``starts[i]`` on."""
        longest = max(map(len, tokens))
        steps = torch.arange(longest)
        lengths = torch.tensor([len(items) for items in tokens])
        first = torch.tensor(starts)
        real = steps[None, :] < lengths[:, None]
        positions = torch.where(real, first[:, None] + steps[None, :], 0)
        self._rows = torch.tensor(rows)
        self._positions = torch.where(real, positions, self.capacity)
        self._length = int((first + lengths).max())
        hidden = torch.arange(self._length)[None, None, :] > positions[:, :, None]
        mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min)
        ids = torch.zeros(real.shape, dtype=torch.long)
        ids[real] = torch.tensor([token for items in tokens for token in items])
        return Batch(ids, positions, mask[:, None], (lengths - 1)[:, None])

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store [rows, heads, longest, size] and return all keys and values of those rows."""
        if layer_idx not in self._keys:
            heads, size = key_states.shape[1], key_states.shape[3]
            shape = (self.slots, heads, self.capacity + 1, size)
            self._keys[layer_idx] = key_states.new_zeros(shape)
            self._values[layer_idx] = value_states.new_zeros((*shape[:3], value_states.shape[3]))
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        keys[self._rows[:, None], :, self._positions] = key_states.transpose(1, 2)
        values[self._rows[:, None], :, self._positions] = value_states.transpose(1, 2)
        length = self._length
        return keys[:, :, :length][self._rows], values[:, :, :length][self._rows]

    def clear(self, slot: int) -> None:
        """Zero a freed slot: a masked NaN left behind would still poison the next request."""
        for store in (*self._keys.values(), *self._values.values()):
            store[slot].zero_()

    @property
    def size_bytes(self) -> int:
        stores = (*self._keys.values(), *self._values.values())
        return sum(store.numel() * store.element_size() for store in stores)
