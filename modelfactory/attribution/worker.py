"""A warm attribution worker: one base, one adapter at a time, a few open indexes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel

from modelfactory.attribution.attribute import attribute
from modelfactory.attribution.build import IndexSettings, RecordExamples, build_index
from modelfactory.attribution.gradients import TokenExample
from modelfactory.attribution.index import AttributionIndex, IndexDamagedError
from modelfactory.attribution.job import Job, JobError
from modelfactory.attribution.method import MethodParameters
from modelfactory.attribution.record import Attribution
from modelfactory.training.adapter import adapter_digest
from modelfactory.training.base import load_base
from modelfactory.training.base_files import base_digest
from modelfactory.training.chat import messages_for, prompt_ids, record_passage, render
from modelfactory.training.recipe import Example

OPEN_INDEXES = 8


def token_example(tokenizer: Any, example: Example, max_length: int) -> TokenExample:
    """An example as it was trained: rendered with its own context, the loss on the response."""
    messages = messages_for(example.prompt, example.passages)
    rendered = render(tokenizer, messages, example.response, max_length)
    at = rendered.prompt_length
    return TokenExample(rendered.ids[:at], rendered.ids[at:])


def record_examples(tokenizer: Any, examples: Sequence[Example], max_length: int) -> RecordExamples:
    """One record with all its wordings; its text is the first wording and the response."""
    first = examples[0]
    return RecordExamples(
        first.record_id,
        record_passage(first.prompt, first.response),
        tuple(token_example(tokenizer, example, max_length) for example in examples),
    )


def run_build(job: Job, folder: Path, on_progress: Any = lambda done, total: None) -> str:
    """Build ``folder/index`` for a read job; returns the index digest. Raises ``JobError``."""
    spec = job.spec
    base, tokenizer = load_base(spec.base)
    try:
        digest = adapter_digest(Path(spec.adapter))
        model = PeftModel.from_pretrained(base, spec.adapter)
        settings = IndexSettings(**spec.settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobError(f"the adapter or the settings cannot be used: {error}") from error
    return build_index(
        folder / "index",
        model,
        [record_examples(tokenizer, examples, spec.max_length) for examples in job.records],
        [token_example(tokenizer, example, spec.max_length) for example in job.phantoms],
        base_digest=spec.base_digest or base_digest(Path(spec.base)),
        adapter_digest=digest,
        settings=settings,
        on_progress=on_progress,
    )


class AttributionWorker:
    """Answers attributions for adapters under ``adapters_root/<digest>`` and indexes under
    ``indexes_root/<adapter digest>``.
    """

    def __init__(self, base: str, adapters_root: Path, indexes_root: Path) -> None:
        self._model, self._tokenizer = load_base(base)
        self._adapters_root = adapters_root
        self._indexes_root = indexes_root
        self._tuned: PeftModel | None = None
        self._tuned_digest = ""
        self._indexes: OrderedDict[str, AttributionIndex] = OrderedDict()

    def attribute(self, request: Mapping[str, Any]) -> Attribution:
        """``request``: adapter_digest, response_ids, prompt_ids or messages, and optional
        question, parameters.

        ``messages`` are rendered as the engine renders them. Give those of the person alone,
        without retrieved passages: an answer copied from a passage was not moved by training.

        Raises ``IndexDamagedError`` or ``ValueError`` for what cannot be answered.
        """
        digest = str(request["adapter_digest"])
        if len(digest) != 64 or not all(digit in "0123456789abcdef" for digit in digest):
            raise ValueError("an adapter is named by the 64 hex digits of its digest")
        index = self._index(digest)
        return attribute(
            self._adapted(digest),
            self._tokenizer,
            index,
            self._prompt(request),
            request["response_ids"],
            question=request.get("question"),
            parameters=MethodParameters.from_json(request.get("parameters", {})),
        )

    def _prompt(self, request: Mapping[str, Any]) -> Sequence[int]:
        if request.get("prompt_ids") is not None:
            return list(request["prompt_ids"])
        return prompt_ids(self._tokenizer, request["messages"])

    def _index(self, digest: str) -> AttributionIndex:
        if digest not in self._indexes:
            index = AttributionIndex(self._indexes_root / digest)
            if index.identity.adapter_digest != digest:
                raise IndexDamagedError(f"the index at {digest[:12]} is of another adapter")
            self._indexes[digest] = index
            while len(self._indexes) > OPEN_INDEXES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(digest)
        return self._indexes[digest]

    def _adapted(self, digest: str) -> PeftModel:
        """The base with this adapter active; another adapter is taken off first."""
        if self._tuned is not None and self._tuned_digest == digest:
            return self._tuned
        folder = self._adapters_root / digest
        if adapter_digest(folder) != digest:
            raise ValueError(f"the files of adapter {digest[:12]} have another digest")
        if self._tuned is not None:
            self._model = self._tuned.unload()
            self._tuned = None
        self._tuned = PeftModel.from_pretrained(self._model, folder)
        self._tuned_digest = digest
        return self._tuned
