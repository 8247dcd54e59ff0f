"""Attribute one answer: a forward and a backward pass, then integer arithmetic on the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from modelfactory.attribution.gradients import TokenExample, record_gradients, response_losses
from modelfactory.attribution.index import AttributionIndex
from modelfactory.attribution.method import METHOD, MethodParameters
from modelfactory.attribution.record import Attribution, ScoredRecord, encode_query, rank

LEXICAL_MICRO = 1_000_000


def attribute(
    model: PeftModel,
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

    ``model`` carries the index's adapter as the active one. BM25 is asked with ``question``, or
    with the decoded prompt. Raises ``ValueError`` when the model's LoRA modules are not those of
    the index.
    """
    parameters = parameters or MethodParameters()
    example = TokenExample(tuple(prompt_ids), tuple(response_ids))
    gradients = record_gradients(model, [example], model.active_adapter)
    sketched = index.sketch.project({n: g.cpu().numpy() for n, g in gradients.modules.items()})[0]
    query = index.quantise_query(sketched)
    ranking = rank(index, query.values, parameters)
    with torch.inference_mode(), model.disable_adapter():
        base_loss = response_losses(model, [example])[1]
    if question is None:
        question = tokenizer.decode(list(prompt_ids), skip_special_tokens=True)
    lexical = np.rint(index.lexical.scores(question) * LEXICAL_MICRO).astype(np.int64)
    return Attribution(
        method=METHOD,
        parameters=parameters,
        base_digest=index.identity.base_digest,
        adapter_digest=index.identity.adapter_digest,
        index_digest=index.digest,
        sketch_seed=index.seed,
        prompt_ids=example.prompt_ids,
        response_ids=example.response_ids,
        query_sketch=encode_query(query.values),
        score_unit=index.score_unit(query),
        threshold=ranking.threshold,
        records=tuple(
            ScoredRecord(
                index.records[at].record_id, index.records[at].cluster, score, int(lexical[at])
            )
            for at, score in zip(ranking.positions, ranking.scores, strict=True)
        ),
        scored_records=len(index),
        log_probability=float(gradients.log_probabilities[0]),
        base_log_probability=-float(base_loss[0]),
    )
