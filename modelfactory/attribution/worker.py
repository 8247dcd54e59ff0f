"""A warm attribution worker: one base, one adapter at a time, a few open indexes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelfactory.attribution.ablation import passage_effects
from modelfactory.attribution.attribute import attribute
from modelfactory.attribution.build import IndexSettings, Phantom, RecordExamples, build_index
from modelfactory.attribution.calibration import Calibration, calibration_folder
from modelfactory.attribution.fast_scan import fast_dots
from modelfactory.attribution.gradients import TokenExample
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError, Texts
from modelfactory.attribution.job import Job, JobError
from modelfactory.attribution.method import MethodParameters
from modelfactory.attribution.passage_effects import PassageEffects
from modelfactory.attribution.record import Attribution
from modelfactory.attribution.stacked import StackedAdapters
from modelfactory.attribution.subjects import Subject, load_tracks, track_digests
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
    )


def run_build(job: Job, folder: Path, on_progress: Any = lambda done, total: None) -> str:
    """Build ``folder/index`` for a read job; returns the index digest. Raises ``JobError``."""
    spec = job.spec
    base, tokenizer = load_base(spec.base)
    try:
        earlier = [Path(folder) for folder in reversed(spec.trail)]
        digests = [adapter_digest(folder) for folder in (Path(spec.adapter), *earlier)]
        model, names = load_tracks(base, Path(spec.adapter), earlier)
        settings = IndexSettings(**spec.settings)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise JobError(f"the adapter or the settings cannot be used: {error}") from error
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
        adapter_digest=digests[0],
        tracks=track_digests(names, digests),
        settings=settings,
        on_progress=on_progress,
    )


def _adapter_named(request: Mapping[str, Any]) -> str:
    digest = str(request["adapter_digest"])
    if len(digest) != 64 or not all(digit in "0123456789abcdef" for digit in digest):
        raise ValueError("an adapter is named by the 64 hex digits of its digest")
    return digest


class AttributionWorker:
    """Answers attributions for adapters under ``adapters_root/<digest>``, indexes under
    ``indexes_root/<adapter digest>`` and calibrations beside them.
    """

    def __init__(self, base: str, adapters_root: Path, indexes_root: Path) -> None:
        self._base, self._tokenizer = load_base(base)
        self._adapters_root = adapters_root
        self._indexes_root = indexes_root
        self._subject: Subject | None = None
        self._subject_of = ("", "")
        self._indexes: OrderedDict[str, AttributionIndex] = OrderedDict()

    def attribute(self, request: Mapping[str, Any]) -> Attribution:
        """``request``: adapter_digest, response_ids, prompt_ids or messages, and optional
        question, parameters.

        ``messages`` are rendered as the engine renders them. Give those of the person alone,
        without retrieved passages: an answer copied from a passage was not moved by training.

        Raises ``IndexDamagedError`` or ``ValueError`` for what cannot be answered.
        """
        index = self._index(_adapter_named(request))
        return attribute(
            self._adapted(index),
            self._tokenizer,
            index,
            self._prompt(request),
            request["response_ids"],
            question=request.get("question"),
            parameters=MethodParameters.from_json(request.get("parameters", {})),
        )

    def passage_effects(self, request: Mapping[str, Any]) -> PassageEffects:
        """``request``: adapter_digest, messages, passages, response_ids, and prompt_ids or None.

        See ``ablation.passage_effects``; under the adapter that served the answer.
        """
        subject = self._adapted(self._index(_adapter_named(request)))
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

    def _index(self, digest: str) -> AttributionIndex:
        if digest not in self._indexes:
            index = AttributionIndex(self._indexes_root / digest, dots=fast_dots)
            if index.identity.adapter_digest != digest:
                raise IndexDamagedError(f"the index at {digest[:12]} is of another adapter")
            self._indexes[digest] = index
            while len(self._indexes) > OPEN_INDEXES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(digest)
        return self._indexes[digest]

    def _calibration(self, index: AttributionIndex) -> Calibration | None:
        """The calibration of exactly this index, if there is one."""
        folder = calibration_folder(self._indexes_root, index.identity.adapter_digest)
        if not folder.is_dir():
            return None
        calibration = Calibration(folder)
        return calibration if calibration.identity.index_digest == index.digest else None

    def _adapted(self, index: AttributionIndex) -> Subject:
        """The adapters of this index; another model's are let go first."""
        calibration = self._calibration(index)
        wanted = (index.digest, calibration.digest if calibration else "")
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
        return Subject(self._base, tracks, calibration, StackedAdapters(folders))

    def _adapter(self, digest: str) -> Path:
        folder = self._adapters_root / digest
        if adapter_digest(folder) != digest:
            raise ValueError(f"the files of adapter {digest[:12]} have another digest")
        return folder
