"""A calibration from files to a folder, and what adapters think of one answer. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelfactory.attribution.attribute import log_probabilities_micro, query_of
from modelfactory.attribution.calibrate import (
    CalibrationQuestion,
    fit_weights,
    learn_gate,
    measure_fidelity,
)
from modelfactory.attribution.calibration import CalibrationIdentity, Design, write_calibration
from modelfactory.attribution.gradients import TokenExample
from modelfactory.attribution.index import AttributionIndex
from modelfactory.attribution.job import CalibrationSpec
from modelfactory.attribution.method import MethodParameters, normalised_signals, signal_names
from modelfactory.attribution.sourceless import SOURCELESS
from modelfactory.attribution.stacked import StackedAdapters
from modelfactory.attribution.subjects import Subject
from modelfactory.attribution.subsets import membership, pretended_membership
from modelfactory.attribution.worker import token_example
from modelfactory.training.adapter import adapter_digest
from modelfactory.training.base import load_base
from modelfactory.training.chat import prompt_ids
from modelfactory.training.recipe import Example

SOURCELESS_KIND = "sourceless"
Progress = Callable[[int, int], None]


class Asker:
    """Asks the index and the retrained adapters about answers."""

    def __init__(self, spec: CalibrationSpec, index: AttributionIndex) -> None:
        base, self._tokenizer = load_base(spec.base)
        adapter = Path(spec.adapter)
        earlier = [adapter.with_name(digest) for digest in index.identity.tracks[1:]]
        self._subject = Subject(base, StackedAdapters([adapter, *earlier]))
        self._subsets = StackedAdapters([Path(subset.adapter) for subset in spec.subsets])
        self._index, self._max_length = index, spec.max_length

    def ask(self, kind: str, asked: Example) -> CalibrationQuestion:
        example = token_example(self._tokenizer, asked, self._max_length)
        query, _ = query_of(self._subject, self._index, example, asked.prompt, asked.response)
        own, phantoms = normalised_signals(self._index, query)
        measured = log_probabilities_micro(self._subject.base, self._subsets, example)
        return CalibrationQuestion(kind, own, phantoms, measured)

    def response_tokens(self, asked: Example) -> int:
        return len(token_example(self._tokenizer, asked, self._max_length).response_ids)


def run_calibration(
    spec: CalibrationSpec, folder: Path, on_progress: Progress = lambda done, total: None
) -> tuple[str, dict[str, Any]]:
    """Write ``folder/calibration``; returns its digest and fidelity. Raises ``ValueError``."""
    index = AttributionIndex(Path(spec.index))
    asker = Asker(spec, index)
    asked = list(zip(spec.kinds, spec.questions, strict=True))
    asked += [(SOURCELESS_KIND, Example("", *pair)) for pair in SOURCELESS]
    found = []
    for number, (kind, question) in enumerate(asked):
        found.append(asker.ask(kind, question))
        on_progress(number + 1, len(asked))
    sourceless = [question for question in found if question.kind == SOURCELESS_KIND]
    sourced = [question for question in found if question.kind != SOURCELESS_KIND]
    ids = [record.record_id for record in index.records]
    count = len(spec.subsets)
    design = Design(
        membership(ids, [subset.kept for subset in spec.subsets]),
        pretended_membership(index.phantom_count, count, spec.seed),
    )
    weights = fit_weights(sourced[::2], design.records)
    gate, noise_gate = learn_gate(sourceless, design, weights, MethodParameters())
    fidelity = {
        "subsets": count,
        "questions": len(sourced[1::2]),
        "records": len(index),
        "noise_gate": noise_gate,
        **measure_fidelity(sourced[1::2], design.records, weights, len(index.tracks)),
    }
    digest = write_calibration(
        folder / "calibration",
        identity=CalibrationIdentity(
            index.identity.adapter_digest,
            index.digest,
            signal_names(index),
            tuple(adapter_digest(Path(subset.adapter)) for subset in spec.subsets),
        ),
        weights=weights,
        gate_per_mille=gate,
        design=design,
        record_ids=ids,
        fidelity=fidelity,
    )
    return digest, fidelity


def measure_answer(spec: Mapping[str, Any], answer: Mapping[str, Any]) -> list[float]:
    """Log-probability (nats) of ``answer`` (messages and response_ids) under each adapter."""
    base, tokenizer = load_base(spec["base"])
    ids = prompt_ids(tokenizer, answer["messages"])
    example = TokenExample(tuple(ids), tuple(answer["response_ids"]))
    return _each(base, [Path(folder) for folder in spec["adapters"]], example)


def _each(base: Any, folders: Sequence[Path], example: TokenExample) -> list[float]:
    return [
        float(StackedAdapters([folder]).log_probabilities(base, example)[0]) for folder in folders
    ]
