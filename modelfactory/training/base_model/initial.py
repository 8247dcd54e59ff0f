"""The first weights: a working induction circuit in two layers, small random weights elsewhere.

From random weights, copying emerged in none of the first tries within 700,000 tokens
(docs/experiments.md). Written in by hand it is there at step 0, and training spends its time on
what to copy. The circuit is that of Elhage et al. 2021 and Olsson et al. 2022: layer 0 writes the
previous token beside each token, layer 1 looks for the place whose previous token is the current
one and copies what stands there.

Residual stream of `hidden_size` h: [0] a constant, [1 : h/2] the token, [h/2 : h] the previous
token.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

CONSTANT = 4.0
PREVIOUS_SCORE = 10.0  # attention logit of each of the quickest rotary pairs at offset 1
MATCH_SCORE = 12.0  # attention logit of a full match
COPY_GAIN = 2.0
OUTPUT_SCALE = 0.12


@torch.no_grad()
def plant_induction(model: LlamaForCausalLM) -> None:
    """Overwrite fresh fp32 weights; needs as many key heads as query heads, at least two."""
    size = model.config.hidden_size
    half, head = size // 2, size // model.config.num_attention_heads
    embedding = model.model.embed_tokens.weight
    embedding.normal_(0.0, 1.0)
    embedding[:, half:] = 0.0
    embedding[:, 0] = CONSTANT
    model.model.norm.weight.fill_(OUTPUT_SCALE)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    speeds = model.model.rotary_emb.inv_freq.float()
    rms = ((CONSTANT**2 + half) / size) ** 0.5
    _previous_token(model.model.layers[0].self_attn, speeds, half, head, constant=CONSTANT / rms)
    rms_after = ((CONSTANT**2 + 2 * half) / size) ** 0.5
    _match_and_copy(model.model.layers[1].self_attn, speeds, half, head, rms_after)


def _previous_token(
    attention: LlamaAttention, speeds: Tensor, half: int, head: int, constant: float
) -> None:
    """Heads 0 and 1 attend one place back: the key is the query turned by one rotary step."""
    pairs, rms = 6, CONSTANT / constant
    strength = (PREVIOUS_SCORE * head**0.5) ** 0.5 / constant
    for number in (0, 1):
        rows = slice(number * head, (number + 1) * head)
        query, key = torch.zeros(head, 2 * half), torch.zeros(head, 2 * half)
        query[:pairs, 0] = strength
        key[:pairs, 0] = strength * speeds[:pairs].cos()
        key[head // 2 : head // 2 + pairs, 0] = strength * speeds[:pairs].sin()
        attention.q_proj.weight[rows] = query
        attention.k_proj.weight[rows] = key
        _pass(attention, number, head, source=number * head, target=half + number * head, gain=rms)


def _match_and_copy(
    attention: LlamaAttention, speeds: Tensor, half: int, head: int, rms: float
) -> None:
    """Heads 0 and 1 compare the token with the previous tokens of all places, on slow rotary pairs
    only.
    """
    slow = [pair for pair, speed in enumerate(speeds.tolist()) if speed < 0.008]
    slots = slow + [pair + head // 2 for pair in slow]
    strength = (MATCH_SCORE * head**0.5 / len(slots)) ** 0.5 * rms
    for number in (0, 1):
        query, key = torch.zeros(head, 2 * half), torch.zeros(head, 2 * half)
        for place, slot in enumerate(slots):
            dimension = 1 + number * (half - 1 - len(slots)) + place
            query[slot, dimension] = strength
            key[slot, half + dimension] = strength
        rows = slice(number * head, (number + 1) * head)
        attention.q_proj.weight[rows] = query
        attention.k_proj.weight[rows] = key
        _pass(
            attention,
            number,
            head,
            source=number * head,
            target=number * head,
            gain=COPY_GAIN * rms,
        )


def _pass(
    attention: LlamaAttention, number: int, head: int, source: int, target: int, gain: float
) -> None:
    """Head `number` carries `head` residual dimensions from `source` to `target`."""
    value = torch.zeros(head, attention.v_proj.weight.shape[1])
    for dimension in range(head):
        if source + dimension:  # the constant stays where it is
            value[dimension, source + dimension] = gain
            attention.o_proj.weight[target + dimension, number * head + dimension] = 1.0
    attention.v_proj.weight[number * head : (number + 1) * head] = value
