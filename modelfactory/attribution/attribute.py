"""Attribute one answer: passes through the model, then integer arithmetic on the index."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from modelfactory.attribution.calibration import MICRO
from modelfactory.attribution.gradients import TokenExample, log_probabilities
from modelfactory.attribution.index import COSINE_BITS, AttributionIndex
from modelfactory.attribution.method import (
    MethodParameters,
    Query,
    Scores,
    calibrated,
    clip_of,
    method_of,
    normalised_signals,
    uncalibrated,
)
from modelfactory.attribution.record import Attribution, ScoredRecord, StoredQuery, rank
from modelfactory.attribution.stacked import StackedAdapters
from modelfactory.attribution.subjects import Subject

LEXICAL_MICRO = 1_000_000


def query_of(
    subject: Subject, index: AttributionIndex, example: TokenExample, question: str, response: str
) -> tuple[Query, float]:
    """What the index is asked, and the answer's log-probability (nats) under the whole adapter."""
    gradients = subject.tracks.gradients(subject.base, example)
    parts = {key: values.cpu().numpy() for key, values in gradients.modules.items()}
    sketches = [
        track.ask(track.projection.project({key: rows[[at]] for key, rows in parts.items()})[0])
        for at, track in enumerate(index.tracks)
    ]
    log_probability = float(gradients.log_probabilities[0])
    words = (index.lexical_prompts.words_of(question), index.lexical_responses.words_of(response))
    return Query(tuple(sketches), *words), log_probability


def log_probabilities_micro(
    base: PreTrainedModel, subsets: StackedAdapters, example: TokenExample
) -> tuple[int, ...]:
    """What the retrained adapters think of an answer [M], in millionths of a nat."""
    found = subsets.log_probabilities(base, example)
    return tuple(round(float(value) * MICRO) for value in found)


def attribute(
    subject: Subject,
    tokenizer: Any,
    index: AttributionIndex,
    prompt_ids: Sequence[int],
    response_ids: Sequence[int],
    *,
    question: str | None = None,
    parameters: MethodParameters | None = None,
) -> Attribution:
    """Score every record of ``index`` on the answer ``response_ids`` to ``prompt_ids``.

    Give the prompt *without* retrieved passages to measure what training put into the answer: with
    the record in the prompt the answer is copied from there, its gradient carries no trace of the
    record, and nothing scores above the noise. Retrieval is evidence of its own.

    BM25 is asked with ``question``, or with the decoded prompt. With a calibration its score pays.
    Raises ``ValueError`` when the model's LoRA modules are not those of the index.
    """
    parameters = parameters or MethodParameters()
    example = TokenExample(tuple(prompt_ids), tuple(response_ids))
    if question is None:
        question = str(tokenizer.decode(list(prompt_ids), skip_special_tokens=True))
    response = str(tokenizer.decode(list(response_ids), skip_special_tokens=True))
    calibration = subject.calibration
    measured: tuple[int, ...] = ()
    if calibration is None or subject.subsets is None or subject.beside is None:
        query, log_probability = query_of(subject, index, example, question, response)
        scores = uncalibrated(index, query, parameters)
    else:
        # The retrained adapters answer while gradients are taken and rows scanned. The thread
        # adopts torch's number of threads, which OpenMP would otherwise choose anew for it.
        with ThreadPoolExecutor(1, initializer=torch.get_num_threads) as beside:
            passes = beside.submit(
                log_probabilities_micro, subject.beside, subject.subsets, example
            )
            query, log_probability = query_of(subject, index, example, question, response)
            signals = normalised_signals(index, query)
            measured = passes.result()
        scores = calibrated(signals, calibration, measured, parameters)
    method = method_of(calibration if measured else None)
    base_log_probability = float(log_probabilities(subject.base, [example])[0])
    return Attribution(
        method=method,
        parameters=parameters,
        base_digest=index.identity.base_digest,
        adapter_digest=index.identity.adapter_digest,
        index_digest=index.digest,
        calibration_digest=calibration.digest if calibration is not None and measured else "",
        sketch_seed=index.seed,
        prompt_ids=example.prompt_ids,
        response_ids=example.response_ids,
        query=StoredQuery.of(query),
        subset_log_probabilities_micro=measured,
        duals=scores.duals,
        score_unit=1 / MICRO if measured else 2.0**-COSINE_BITS,
        score_of="nats" if measured else "summed cosines",
        threshold=scores.threshold,
        records=_listed(index, scores, parameters, question),
        scored_records=len(index),
        log_probability=log_probability,
        base_log_probability=base_log_probability,
        clip=clip_of(method, log_probability, base_log_probability),
    )


def _listed(
    index: AttributionIndex,
    scores: Scores,
    parameters: MethodParameters,
    question: str,
) -> tuple[ScoredRecord, ...]:
    """The best records, with BM25 of the whole record and the uncertainty of the score."""
    ranking = rank(scores, parameters)
    lexical = np.rint(index.lexical.scores(question) * LEXICAL_MICRO).astype(np.int64)
    spread = scores.deviations(ranking.positions)
    return tuple(
        ScoredRecord(
            index.records[at].record_id,
            index.records[at].cluster,
            score,
            int(lexical[at]),
            deviation,
        )
        for at, score, deviation in zip(ranking.positions, ranking.scores, spread, strict=True)
    )
