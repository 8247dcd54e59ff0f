"""Evidence beside influence, which pays nobody: verbatim spans, and what each passage did.

Both are facts about one answer. What goes on the receipt holds ids, places and integers, no text.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from datanets.models import Record
from datanets.selectors import RecordCard, record_cards
from marketplace.models import Inference
from marketplace.selectors.evidence import is_readable
from modelfactory.attribution.spans import Span, TooMuchTextError, tokens_of
from modelfactory.services import (
    AttributedAnswer,
    measure_passages,
    passage_text,
    verbatim_spans,
)

MEASURED, WITHDRAWN, UNREADABLE, UNMEASURED = "measured", "withdrawn", "unreadable", "unmeasured"


@dataclass(frozen=True)
class PassageEvidence:
    """`entries` name each passage that was read, in order; `together` is None when none could be
    measured.
    """

    entries: list[dict[str, Any]]
    together: dict[str, int] | None = None


def influence_told(inference: Inference, attributed: AttributedAnswer) -> dict[str, Any]:
    """The attribution as the receipt holds it.

    How well the question's words fit a row is told of rows that the consumer may read: asked word
    by word, it would spell out the others. Neither pay nor replay needs it.
    """
    told = attributed.as_dict()
    rows = told["attribution"]["records"]
    cards = record_cards(inference.consumer, [row["record_id"] for row in rows])
    for row in rows:
        if not is_readable(cards.get(row["record_id"])):
            row["lexical_micro"] = 0
    return told


def find_verbatim(inference: Inference) -> list[dict[str, Any]] | None:
    """Words of the answer that stand in trained rows; None where there is too much text to search.

    The place in the answer is told only for words that the consumer may read in some listed row:
    that the rest stands in private rows word for word is their owners' to tell. Words that the
    consumer wrote are not told at all then, or having a guess repeated would confirm it.
    """
    try:
        found = verbatim_spans(
            inference.model, question=inference.question, answer=inference.answer
        )
    except TooMuchTextError:
        return None
    listed = {record_id for span in found for record_id in span.record_ids}
    cards = record_cards(inference.consumer, listed)
    readable = {record_id for record_id, card in cards.items() if is_readable(card)}
    asked = _words(" ".join(message["content"] for message in inference.messages))
    return [
        _span_entry(span, readable)
        for span in found
        if readable & set(span.record_ids)
        or _words(inference.answer[span.start : span.end]) not in asked
    ]


def _words(text: str) -> str:
    """The words alone, each between spaces, so that one text can be looked for in another."""
    return f" {' '.join(one.text.casefold() for one in tokens_of(text) if one.is_word)} "


def _span_entry(span: Span, readable: set[str]) -> dict[str, Any]:
    fields = asdict(span)
    entry = {"records": list(fields.pop("record_ids")), **fields}
    return entry if readable & set(span.record_ids) else entry | {"start": None, "end": None}


def measure_retrieval(inference: Inference) -> PassageEvidence:
    """How much less likely the answer is without each passage it read.

    The passages' texts are not kept with the answer: they are read again, with the consumer's right
    to read them checked again. Where one is gone, the others are measured among themselves.
    """
    read = [passage["record"] for passage in inference.passages]
    cards = record_cards(inference.consumer, read)
    kept = [record_id for record_id in read if is_readable(cards.get(record_id))]
    if not kept:
        return PassageEvidence([_entry(passage, cards) for passage in inference.passages])
    effects = measure_passages(
        inference.model,
        inference.adapter_digest,
        messages=inference.read_messages,
        passages=[_text(cards[record_id]) for record_id in kept],
        response_ids=inference.response_ids,
        served_prompt_ids=inference.prompt_ids if len(kept) == len(read) else None,
    )
    measured = {
        record_id: {
            "state": MEASURED,
            "log_probability_without_micro_nats": without,
            "effect_micro_nats": effect,
        }
        for record_id, without, effect in zip(
            kept, effects.without_micro_nats, effects.effects_micro_nats, strict=True
        )
    }
    return PassageEvidence(
        [
            _entry(passage, cards) | measured.get(passage["record"], {})
            for passage in inference.passages
        ],
        {
            "log_probability_micro_nats": effects.all_micro_nats,
            "log_probability_without_any_micro_nats": effects.none_micro_nats,
            "effect_micro_nats": effects.together_micro_nats,
        },
    )


def unmeasured_retrieval(inference: Inference) -> PassageEvidence:
    """What was read, when measuring it failed every time."""
    return PassageEvidence([dict(passage) | _without(UNMEASURED) for passage in inference.passages])


def _entry(passage: dict[str, str], cards: dict[str, RecordCard]) -> dict[str, Any]:
    card = cards.get(passage["record"])
    gone = card is None or card.state == Record.State.WITHDRAWN
    return dict(passage) | _without(WITHDRAWN if gone else UNREADABLE)


def _without(state: str) -> dict[str, Any]:
    """A passage without figures."""
    return {"state": state, "log_probability_without_micro_nats": None, "effect_micro_nats": None}


def _text(card: RecordCard) -> str:
    return passage_text(card.question, card.answer, card.text)
