"""A warm attribution worker: one base, one adapter at a time, a few open indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel

from modelfactory.attribution.ablation import passage_effects
from modelfactory.attribution.attribute import attribute
from modelfactory.attribution.build import (
    IndexSettings,
    Phantom,
    RecordExamples,
    build_index,
    project_gradients,
)
from modelfactory.attribution.calibration import (
    Calibration,
    CalibrationDamagedError,
    calibration_folder,
)
from modelfactory.attribution.fast_scan import fast_dots
from modelfactory.attribution.gradients import TokenExample
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError, IndexRecord, Texts
from modelfactory.attribution.index_files import stamp_of
from modelfactory.attribution.index_writing import append_records
from modelfactory.attribution.job import BuildSpec, Job, JobError
from modelfactory.attribution.method import MethodParameters
from modelfactory.attribution.opened import OpenFolders
from modelfactory.attribution.passage_effects import PassageEffects
from modelfactory.attribution.record import Attribution
from modelfactory.attribution.stacked import StackedAdapters
from modelfactory.attribution.subjects import Subject, load_tracks, shared_copy, track_digests
from modelfactory.training.adapter import adapter_digest
from modelfactory.training.base import load_base
from modelfactory.training.base_files import base_digest
from modelfactory.training.chat import messages_for, prompt_ids, render
from modelfactory.training.recipe import Example

OPEN_INDEXES = 8


def token_example(tokenizer: Any, example: Example, max_length: int) -> TokenExample:
    """An example as it was trained: rendered with its own context, the loss on the response."""
    messages = messages_for(example.prompt, example.passages)
    rendered = render(tokenizer, messages, example.response, max_length)
    at = rendered.prompt_length
    return TokenExample(rendered.ids[:at], rendered.ids[at:])


def record_examples(
    tokenizer: Any, examples: Sequence[Example], max_length: int, wordings: int
) -> RecordExamples:
    """One record with its first wordings; its text is the first one and the response."""
    first = examples[0]
    return RecordExamples(
        first.record_id,
        Texts(first.prompt, first.response),
        tuple(token_example(tokenizer, example, max_length) for example in examples[:wordings]),
        tuple(example.prompt for example in examples[1:]),
    )


def run_build(job: Job, folder: Path, on_progress: Any = lambda done, total: None) -> str:
    """Build ``folder/index`` for a read job; returns the index digest. Raises ``JobError``."""
    spec = job.spec
    model, tokenizer, tracks = _loaded(spec)
    settings = IndexSettings(**spec.settings)
    return build_index(
        folder / "index",
        model,
        [
            record_examples(tokenizer, examples, spec.max_length, settings.wordings)
            for examples in job.records
        ],
        [
            Phantom(
                Texts(example.prompt, example.response),
                token_example(tokenizer, example, spec.max_length),
            )
            for example in job.phantoms
        ],
        base_digest=spec.base_digest or base_digest(Path(spec.base)),
        adapter_digest=next(iter(tracks.values())),
        tracks=tracks,
        settings=settings,
        follows=spec.follows,
        on_progress=on_progress,
    )


def run_append(job: Job, index: AttributionIndex, folder: Path) -> str:
    """Write ``folder/index``, which is ``index`` with the job's records after its own.

    The records are of the same adapter: learnt by it as well, and left out of the index so far. A
    near-duplicate of an older record is in a cluster of its own until the next build, since an
    index holds no texts to compare. Raises ``JobError``.
    """
    spec = job.spec
    model, tokenizer, tracks = _loaded(spec)
    if tuple(tracks.values()) != index.identity.tracks:
        raise JobError("the index is of other adapters than spec.json names")
    wordings = IndexSettings(**spec.settings).wordings
    records = [
        record_examples(tokenizer, examples, spec.max_length, wordings) for examples in job.records
    ]
    rows = []
    for name, track in zip(tracks, index.tracks, strict=True):
        model.set_adapter(name)
        groups = [record.examples for record in records]
        batch_size = IndexSettings(**spec.settings).batch_size
        rows += project_gradients(
            model, [track.projection], groups, batch_size=batch_size, adapter=name
        )
    return append_records(
        index,
        folder / "index",
        records=[IndexRecord(record.record_id, record.record_id) for record in records],
        rows=rows,
        texts=[record.texts for record in records],
    )


def _loaded(spec: BuildSpec) -> tuple[PeftModel, Any, Mapping[str, str]]:
    """The base with the run's adapters, its tokenizer, and adapter names to digests."""
    base, tokenizer = load_base(spec.base)
    try:
        earlier = [Path(folder) for folder in reversed(spec.trail)]
        digests = [adapter_digest(folder) for folder in (Path(spec.adapter), *earlier)]
        model, names = load_tracks(base, Path(spec.adapter), earlier)
        IndexSettings(**spec.settings)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise JobError(f"the adapter or the settings cannot be used: {error}") from error
    return model, tokenizer, track_digests(names, digests)


def _adapter_named(request: Mapping[str, Any]) -> str:
    digest = str(request["adapter_digest"])
    if len(digest) != 64 or not all(digit in "0123456789abcdef" for digit in digest):
        raise ValueError("an adapter is named by the 64 hex digits of its digest")
    return digest


def _open_index(folder: Path) -> AttributionIndex:
    return AttributionIndex(folder, dots=fast_dots)


class AttributionWorker:
    """Answers attributions for adapters under ``adapters_root/<digest>``, indexes under
    ``indexes_root/<adapter digest>`` and calibrations beside them.
    """

    def __init__(self, base: str, adapters_root: Path, indexes_root: Path) -> None:
        self._base, self._tokenizer = load_base(base)
        self._beside = shared_copy(self._base)
        self._adapters_root = adapters_root
        self._indexes_root = indexes_root
        self._subject: Subject | None = None
        self._subject_of: tuple[object, ...] = ()
        self._indexes = OpenFolders(_open_index, OPEN_INDEXES)
        self._calibrations = OpenFolders(Calibration, OPEN_INDEXES)

    def attribute(self, request: Mapping[str, Any]) -> Attribution:
        """``request``: adapter_digest, response_ids, prompt_ids or messages, and optional
        question, parameters, index_digest, calibration_digest.

        Give the two digests to be answered by exactly these or not at all; an empty calibration
        digest asks for the uncalibrated score. Without them what lies there is used.

        ``messages`` are rendered as the engine renders them. Give those of the person alone,
        without retrieved passages: an answer copied from a passage was not moved by training.

        Raises ``IndexDamagedError`` (``CalibrationDamagedError``) or ``ValueError`` for what cannot
        be answered.
        """
        index = self._index(request)
        return attribute(
            self._adapted(index, request.get("calibration_digest")),
            self._tokenizer,
            index,
            self._prompt(request),
            request["response_ids"],
            question=request.get("question"),
            parameters=MethodParameters.from_json(request.get("parameters", {})),
        )

    def response_ids(self, text: str) -> list[int]:
        """The tokens of an answer as training renders it, with its end mark."""
        example = render(self._tokenizer, [{"role": "user", "content": ""}], text)
        return list(example.ids[example.prompt_length :])

    def passage_effects(self, request: Mapping[str, Any]) -> PassageEffects:
        """``request``: adapter_digest, messages, passages, response_ids, prompt_ids or None, and
        optional digests as in ``attribute``.

        See ``ablation.passage_effects``; under the adapter that served the answer.
        """
        subject = self._adapted(self._index(request), request.get("calibration_digest"))
        with subject.tracks.alone(subject.base):
            return passage_effects(
                subject.base,
                self._tokenizer,
                request["messages"],
                request["passages"],
                request["response_ids"],
                request.get("prompt_ids"),
            )

    def _prompt(self, request: Mapping[str, Any]) -> Sequence[int]:
        if request.get("prompt_ids") is not None:
            return list(request["prompt_ids"])
        return prompt_ids(self._tokenizer, request["messages"])

    def _index(self, request: Mapping[str, Any]) -> AttributionIndex:
        adapter = _adapter_named(request)
        index = self._indexes.get(self._indexes_root / adapter)
        if index.identity.adapter_digest != adapter:
            raise IndexDamagedError(f"the index at {adapter[:12]} is of another adapter")
        if request.get("index_digest") not in (None, index.digest):
            raise IndexDamagedError(f"the index of {adapter[:12]} has another digest")
        return index

    def _calibration(self, index: AttributionIndex, digest: str | None) -> Calibration | None:
        """The calibration ``digest``, or of exactly this index; None where there is none."""
        folder = calibration_folder(self._indexes_root, index.identity.adapter_digest)
        if digest == "" or (digest is None and not folder.is_dir()):
            return None
        calibration = self._calibrations.get(folder)
        fits = calibration.identity.index_digest == index.digest
        if digest is None:
            return calibration if fits else None
        if not fits or calibration.digest != digest:
            raise CalibrationDamagedError(f"{folder.name}: not the calibration that was asked for")
        return calibration

    def _adapted(self, index: AttributionIndex, calibration_digest: str | None) -> Subject:
        """The adapters of this index; another model's are let go first.

        They are loaded again when one of their files changed, which checks their digests.
        """
        calibration = self._calibration(index, calibration_digest)
        adapters = [*index.identity.tracks, *(calibration.identity.subsets if calibration else ())]
        stamps = tuple(stamp_of(self._adapters_root / digest) for digest in adapters)
        wanted = (index.digest, calibration.digest if calibration else "", stamps)
        if self._subject is None or self._subject_of != wanted:
            self._subject = None
            self._subject = self._load(index, calibration)
            self._subject_of = wanted
        return self._subject

    def _load(self, index: AttributionIndex, calibration: Calibration | None) -> Subject:
        tracks = StackedAdapters([self._adapter(digest) for digest in index.identity.tracks])
        if calibration is None:
            return Subject(self._base, tracks)
        folders = [self._adapter(digest) for digest in calibration.identity.subsets]
        subsets = StackedAdapters(folders)
        return Subject(self._base, tracks, calibration, subsets, self._beside)

    def _adapter(self, digest: str) -> Path:
        folder = self._adapters_root / digest
        if adapter_digest(folder) != digest:
            raise ValueError(f"the files of adapter {digest[:12]} have another digest")
        return folder
