"""One adapter with everything its attribution needs, over a base."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel

from modelfactory.attribution.calibration import Calibration
from modelfactory.attribution.stacked import StackedAdapters

FINAL = "default"


@dataclass(frozen=True)
class Subject:
    """What answers are attributed with. ``base`` is bare; ``tracks`` are the finished adapter and
    those of earlier moments, in the order of the index's tracks.

    ``calibration``, the retrained adapters it needs, ``subsets``, and ``beside``, the base they run
    over in a thread of their own (``shared_copy``), come together or not at all.
    """

    base: PreTrainedModel
    tracks: StackedAdapters
    calibration: Calibration | None = None
    subsets: StackedAdapters | None = None
    beside: PreTrainedModel | None = None


def shared_copy(base: PreTrainedModel) -> PreTrainedModel:
    """Another set of modules over the same weights, whose hooks are its own.

    Its attention is plain: the kernel that gradients fix for the whole process changes nothing.
    """
    weights = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    other: PreTrainedModel = copy.deepcopy(base, weights)
    other.set_attn_implementation("eager")
    return other


def load_tracks(
    base: PreTrainedModel, adapter: Path, earlier: Sequence[Path] = ()
) -> tuple[PeftModel, tuple[str, ...]]:
    """``base`` with the finished adapter and those of earlier moments, and their names in it."""
    model = PeftModel.from_pretrained(base, adapter, adapter_name=FINAL)
    names = [FINAL]
    for number, folder in enumerate(earlier, start=1):
        names.append(f"earlier-{number}")
        model.load_adapter(str(folder), adapter_name=names[-1])
    model.set_adapter(FINAL)
    return model, tuple(names)


def track_digests(names: Sequence[str], digests: Sequence[str]) -> Mapping[str, str]:
    """Adapter names in a model to their digests, in the order of an index's tracks."""
    return dict(zip(names, digests, strict=True))
