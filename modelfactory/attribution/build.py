"""Build the attribution index of one adapter from the records it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peft import PeftModel
from torch import nn

from modelfactory.attribution.axes import Axes, AxesFinder
from modelfactory.attribution.basis import WIDENING, room, widened
from modelfactory.attribution.duplicates import cluster_positions
from modelfactory.attribution.gradients import LOSS, TokenExample, batched, lora_modules
from modelfactory.attribution.index import IndexIdentity, IndexRecord, Projection, Texts
from modelfactory.attribution.index_writing import TrackRows, write_index
from modelfactory.attribution.influence import DEFAULT_DAMPING, CurvatureKind
from modelfactory.attribution.phantoms import MINIMUM_PHANTOMS, Statement
from modelfactory.attribution.sketch import Float32, Sketch, plan_sketch


@dataclass(frozen=True)
class IndexSettings:
    """How an index is built; ``dimensions`` is the length of a row of one track in bytes."""

    dimensions: int = 4096
    seed: int = 20_261_123
    curvature: CurvatureKind = "efim"
    damping: float = DEFAULT_DAMPING
    batch_size: int = 16
    widening: int = WIDENING
    """An index with room for all records in a basis keeps so many times wider sketches; 0: none."""
    axes_from: int = 512
    """A larger one holds coordinates along axes that so many records show; 0: a random sketch."""
    wordings: int = 2
    """Of each record at most so many are indexed: more predict no better and cost as much each."""


@dataclass(frozen=True)
class RecordExamples:
    """A record, its texts for BM25 and duplicates, and its training examples (one per wording)."""

    record_id: str
    texts: Texts
    examples: tuple[TokenExample, ...]
    wordings: tuple[str, ...] = ()
    """All further prompts that it was trained with."""


@dataclass(frozen=True)
class Phantom:
    """A never-trained record."""

    texts: Texts
    example: TokenExample


def project_gradients(
    model: nn.Module,
    projections: Sequence[Projection],
    groups: Sequence[Sequence[TokenExample]],
    *,
    batch_size: int,
    adapter: str = "default",
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[Float32]:
    """By each projection [n, k]: the gradient of each group, the mean over its examples."""
    # Examples of like length together, so that little of a batch is padding.
    flat = sorted(
        ((row, example) for row, group in enumerate(groups) for example in group),
        key=lambda item: len(item[1].prompt_ids) + len(item[1].response_ids),
    )
    found = [np.zeros((len(groups), one.dimensions), dtype=np.float32) for one in projections]
    examples = [example for _, example in flat]
    position = 0
    for batch in batched(
        model, examples, batch_size=batch_size, adapter=adapter, on_batch=on_progress
    ):
        parts = {name: values.cpu().numpy() for name, values in batch.modules.items()}
        own = [row for row, _ in flat[position : position + len(batch.log_probabilities)]]
        for rows, projection in zip(found, projections, strict=True):
            np.add.at(rows, own, projection.project(parts))
        position += len(own)
    counts = np.array([[len(group)] for group in groups], dtype=np.float32)
    return [rows / counts for rows in found]


def find_axes(
    model: nn.Module,
    sketch: Sketch,
    groups: Sequence[Sequence[TokenExample]],
    *,
    batch_size: int,
    adapter: str,
    at_most: int,
) -> Axes:
    """The main axes of the gradients of ``at_most`` groups, evenly spread, by one example each."""
    spread = np.unique(np.linspace(0, len(groups) - 1, at_most, dtype=int))
    examples = [groups[at][0] for at in spread]
    shapes = {module.name: module.shapes for module in lora_modules(model, adapter)}
    finder = AxesFinder(sketch, shapes)
    for batch in batched(model, examples, batch_size=batch_size, adapter=adapter):
        finder.add({name: values.cpu().numpy() for name, values in batch.modules.items()})
    return finder.found()


def build_index(
    folder: Path,
    model: PeftModel,
    records: Sequence[RecordExamples],
    phantoms: Sequence[Phantom],
    *,
    base_digest: str,
    adapter_digest: str,
    tracks: Mapping[str, str] | None = None,
    settings: IndexSettings | None = None,
    follows: Mapping[str, str] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Write the index of ``records`` (oldest first) to ``folder``; returns the index digest.

    ``model`` has the run's adapters loaded; ``tracks`` maps those to index, by name in the model,
    to their digests: the finished one first, then earlier moments. ``phantoms`` were never trained;
    at least ``MINIMUM_PHANTOMS``. Raises ``ValueError`` for too few phantoms or a record without
    examples.
    """
    settings = settings or IndexSettings()
    tracks = tracks or {"default": adapter_digest}
    if len(phantoms) < MINIMUM_PHANTOMS or not all(record.examples for record in records):
        raise ValueError(f"an index needs {MINIMUM_PHANTOMS} phantoms and examples of each record")
    sizes = {module.name: module.size for module in lora_modules(model)}
    dimensions = min(settings.dimensions, sum(sizes.values()))
    sketch = plan_sketch(sizes, dimensions=dimensions, seed=settings.seed)
    wide = _wide(sketch, settings.widening, len(records))
    groups = [*(record.examples for record in records), *((one.example,) for one in phantoms)]
    total = len(tracks) * sum(len(group) for group in groups)
    found = []
    for number, name in enumerate(tracks):
        begun = number * total // len(tracks)

        def report(done: int, begun: int = begun) -> None:
            on_progress(begun + done, total)

        model.set_adapter(name)
        # The earliest moment: there rows that teach the same still point one way.
        compared = number == len(tracks) - 1
        found.append(
            _rows(model, name, groups, len(records), sketch, wide, settings, compared, report)
        )
    clusters = cluster_positions(
        [Statement(record.texts.prompt, record.texts.response) for record in records],
        found[-1].compared,
        wordings=[record.wordings for record in records],
    )
    return write_index(
        folder,
        identity=IndexIdentity(
            base_digest,
            adapter_digest,
            settings.curvature,
            settings.damping,
            LOSS,
            tuple(tracks.values()),
        ),
        sketch=sketch,
        records=[
            IndexRecord(record.record_id, records[cluster].record_id)
            for record, cluster in zip(records, clusters, strict=True)
        ],
        tracks=[one.kept for one in found],
        texts=[record.texts for record in records],
        phantom_texts=[phantom.texts for phantom in phantoms],
        follows=follows,
        wide=wide,
    )


@dataclass(frozen=True)
class _Rows:
    """Of one track: what is kept, and what its records are compared by.

    Along the main axes all records look alike, so near-duplicates are told by sketches.
    """

    kept: TrackRows
    compared: Float32


def _rows(
    model: nn.Module,
    adapter: str,
    groups: Sequence[Sequence[TokenExample]],
    records: int,
    sketch: Sketch,
    wide: Sketch | None,
    settings: IndexSettings,
    compared: bool,
    on_progress: Callable[[int], None],
) -> _Rows:
    """The first ``records`` of ``groups`` are records, to be ``compared``, the rest phantoms."""
    axes = None
    if wide is None and settings.axes_from:
        axes = find_axes(
            model,
            sketch,
            groups[:records],
            batch_size=settings.batch_size,
            adapter=adapter,
            at_most=settings.axes_from,
        )
    kept, *plain = project_gradients(
        model,
        [wide or axes or sketch, *([sketch] if axes and compared else [])],
        groups,
        batch_size=settings.batch_size,
        adapter=adapter,
        on_progress=on_progress,
    )
    return _Rows(TrackRows(kept[:records], kept[records:], axes), (plain or [kept])[0][:records])


def _wide(sketch: Sketch, widening: int, records: int) -> Sketch | None:
    """The wide sketch of a small index; None where its records do not fit a basis."""
    wide = widened(sketch, widening)
    return wide if records <= room(sketch, wide) else None
