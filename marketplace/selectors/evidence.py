"""Evidence beside influence as pages show it, each kind by itself, with text only for who may read.

Verbatim spans and passages are facts that pay nobody. A row's text, and the place in the answer
that repeats it, are for readers with a right to the row; everybody else gets owner and figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from datanets.models import Record
from datanets.selectors import RecordCard, visible_to
from marketplace.likelihood import likelihood_in_words
from marketplace.models import Inference
from modelfactory.attribution.calibration import MICRO


@dataclass(frozen=True)
class ShownSpan:
    """One span: `text` is empty where this reader may read none of its rows; `number` from 1."""

    number: int
    text: str
    start: int
    end: int
    words: int
    rows: int
    cards: list[RecordCard]

    @property
    def unlisted(self) -> int:
        return self.rows - len(self.cards)


@dataclass(frozen=True)
class AnswerPart:
    """A stretch of the answer with the numbers of the spans that it belongs to."""

    text: str
    numbers: list[int]


@dataclass(frozen=True)
class ShownPassage:
    """One passage that was read, and in words how likely the answer is without it."""

    record_id: str
    card: RecordCard | None
    state: str
    likelihood: str
    effect_nats: float | None


def evidence_records(body: Mapping[str, Any]) -> set[str]:
    """Ids of all records that the evidence beside influence names."""
    evidence = body["evidence"]
    spans = evidence.get("verbatim") or []
    found = {record_id for span in spans for record_id in span["records"]}
    return found | {passage["record"] for passage in evidence["retrieval"]}


def verbatim_view(
    body: Mapping[str, Any], answer: str, cards: Mapping[str, RecordCard]
) -> dict[str, Any]:
    """The spans, the answer in parts with what `is_marked` in it, and whether it was searched."""
    entries = body["evidence"].get("verbatim")
    spans = [
        _span(number, entry, answer, cards) for number, entry in enumerate(entries or [], start=1)
    ]
    return {
        "verbatim_searched": entries is not None,
        "spans": spans,
        "is_marked": any(span.text for span in spans),
        "answer_parts": _parts(answer, [span for span in spans if span.text]),
    }


def _span(
    number: int, entry: Mapping[str, Any], answer: str, cards: Mapping[str, RecordCard]
) -> ShownSpan:
    listed = [cards[record_id] for record_id in entry["records"] if record_id in cards]
    start, end = entry["start"] or 0, entry["end"] or 0
    readable = any(is_readable(card) for card in listed)
    text = answer[start:end] if readable else ""
    return ShownSpan(number, text, start, end, entry["words"], entry["rows"], listed)


def _parts(answer: str, spans: Iterable[ShownSpan]) -> list[AnswerPart]:
    """The whole answer; spans that overlap are one stretch."""
    parts: list[AnswerPart] = []
    at = 0
    for start, end, numbers in _merged(spans):
        parts += [AnswerPart(answer[at:start], [])] if at < start else []
        parts.append(AnswerPart(answer[start:end], numbers))
        at = end
    return parts + ([AnswerPart(answer[at:], [])] if at < len(answer) else [])


def _merged(spans: Iterable[ShownSpan]) -> list[tuple[int, int, list[int]]]:
    merged: list[tuple[int, int, list[int]]] = []
    for span in spans:
        if merged and span.start < merged[-1][1]:
            start, end, numbers = merged.pop()
            merged.append((start, max(end, span.end), [*numbers, span.number]))
        else:
            merged.append((span.start, span.end, [span.number]))
    return merged


def retrieval_view(body: Mapping[str, Any], cards: Mapping[str, RecordCard]) -> dict[str, Any]:
    """The passages that were read, in order, and what all of them did together."""
    evidence = body["evidence"]
    together = evidence.get("retrieval_together")
    passages = [passage_shown(entry, cards) for entry in evidence["retrieval"]]
    return {
        "passages": passages,
        "passages_missing": any(one.state in ("withdrawn", "unreadable") for one in passages),
        "together": likelihood_in_words(together["effect_micro_nats"] / MICRO) if together else "",
    }


def passage_shown(entry: Mapping[str, Any], cards: Mapping[str, RecordCard]) -> ShownPassage:
    """Receipts of schema 1 hold no state and no figure."""
    effect = entry.get("effect_micro_nats")
    return ShownPassage(
        record_id=entry["record"],
        card=cards.get(entry["record"]),
        state=entry.get("state", "unmeasured"),
        likelihood="" if effect is None else likelihood_in_words(effect / MICRO),
        effect_nats=None if effect is None else effect / MICRO,
    )


def is_readable(card: RecordCard | None) -> TypeGuard[RecordCard]:
    """A contributor sees the card of their own withdrawn row, but nobody its text."""
    return card is not None and card.readable and card.state != Record.State.WITHDRAWN


def lineage_view(user: Any, inference: Inference) -> dict[str, Any]:
    """What the model was made from, fixed when it was published; the Datanet if it may be seen."""
    run = inference.model.run
    counts = list(inference.model.contributors.values_list("row_count", flat=True))
    is_seen = visible_to(user).filter(pk=run.version.datanet_id).exists()
    return {
        "version": run.version if is_seen else None,
        "lineage_rows": sum(counts),
        "lineage_people": len(counts),
    }


def own_evidence(body: Mapping[str, Any], own: Mapping[str, RecordCard]) -> list[dict[str, Any]]:
    """For a contributor: their rows that were read or recited, figures only.

    The answer belongs to the person who asked, so which words of it a row repeats is not told.
    """
    evidence = body["evidence"]
    passages = {entry["record"]: passage_shown(entry, own) for entry in evidence["retrieval"]}
    words: dict[str, int] = {}
    for span in evidence.get("verbatim") or []:
        for record_id in span["records"]:
            words[record_id] = max(words.get(record_id, 0), span["words"])
    return [
        {"card": card, "passage": passages.get(record_id), "words": words.get(record_id, 0)}
        for record_id, card in own.items()
        if record_id in passages or record_id in words
    ]
