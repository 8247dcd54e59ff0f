"""Answers by their consumer; models as a market shows them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum
from django.http import Http404

from datanets.selectors import RecordCard, record_cards
from marketplace.models import Agent, Inference, Receipt
from marketplace.selectors.evidence import (
    evidence_records,
    is_readable,
    lineage_view,
    retrieval_view,
    verbatim_view,
)
from modelfactory.models import Model
from modelfactory.selectors import index_of, model_for, models_visible_to
from openledger_site.accounts.models import User

CONVERSATION_LENGTH = 30


def listed_models(user: Any, *, search: str = "") -> QuerySet[Model]:
    """The models this person may use, most asked first."""
    found = models_visible_to(user).annotate(
        answers=Count("inferences", filter=Q(inferences__state="settled"))
    )
    for word in search.split()[:8]:
        found = found.filter(Q(name__icontains=word) | Q(card__icontains=word))
    return found.order_by("-answers", "-published_at")


def model_named(user: Any, name: str) -> Model:
    """`slug`, or `slug@digest12`, which pins the weights; 404 for what this person may not ask."""
    slug, _, digest = name.partition("@")
    if "\x00" in slug:  # what PostgreSQL cannot even look for
        raise Http404("No such model.")
    model = model_for(user, slug)
    if digest and not model.adapter_digest.startswith(digest):
        raise Http404("Other weights.")
    return model


def inference_for(user: Any, public_id: UUID) -> Inference:
    """The answer, for the person who paid for it; 404 for everybody else."""
    found = Inference.objects.select_related(
        "model__owner", "model__base", "model__run__version__datanet", "job", "receipt", "hold",
        "agent_version__agent",
    )  # fmt: skip
    inference = found.filter(public_id=public_id, consumer_id=user.pk).first()
    if inference is None:
        raise Http404("No such answer.")
    return inference


def receipt_for(user: Any, public_id: UUID) -> Receipt:
    """The receipt, for its consumer; 404 for everybody else and before it is issued."""
    receipt = (
        Receipt.objects.select_related("inference__model__owner", "inference__consumer")
        .filter(inference__public_id=public_id, inference__consumer_id=user.pk)
        .first()
    )
    if receipt is None:
        raise Http404("No such receipt.")
    return receipt


def answers_of(user: Any) -> QuerySet[Inference]:
    """Everything a person asked, newest first."""
    return (
        Inference.objects.filter(consumer_id=user.pk)
        .select_related("model", "agent_version__agent", "receipt", "hold__settlement")
        .order_by("-id")
    )


def conversation(user: Any, model: Model, agent: Agent | None = None) -> list[Inference]:
    """The last questions of this person to this model or to the agent, oldest first."""
    asked = Q(agent_version__agent=agent) if agent else Q(agent_version=None)
    found = answers_of(user).filter(asked, model=model, erased_at=None)
    latest = found.exclude(state=Inference.State.FAILED)
    return list(reversed(latest[:CONVERSATION_LENGTH]))


def income_of(model: Model) -> dict[str, int]:
    """What a model has earned from settled answers that were not refunded: how many, and wei."""
    kept = Inference.objects.filter(
        model=model, state=Inference.State.SETTLED, hold__settlement__refund__isnull=True
    )
    totals = kept.aggregate(answers=Count("pk"), fees=Sum("fee_wei"))
    return {"answers": totals["answers"], "fees_wei": int(totals["fees"] or 0)}


def receipt_view(user: Any, inference: Inference) -> dict[str, Any]:
    """What the receipt page shows: the split, and each kind of evidence by itself."""
    body = inference.receipt.body
    influence = body["evidence"]["influence"]
    record_parts = influence["record_parts"] if influence else {}
    cards = record_cards(user, {*record_parts, *evidence_records(body)})
    people = User.objects.in_bulk(
        [person["user"] for person in body["contributors"]], field_name="public_id"
    )
    names = {str(public_id): person.name for public_id, person in people.items()}
    lexical = {
        row["record_id"]: row["lexical_micro"] / 1e6
        for row in (influence["attribution"]["records"] if influence else [])
    }
    return {
        "body": body,
        # Receipts from before this was told say nothing of why.
        "influence_missing": None if influence else _why_missing(body),
        "moved_on": _why_not_replayed(influence),
        "split": _split_lines(body, names),
        "terms": [
            (label, f"{body['parameters'][label.lower() + '_ppm'] / 10_000:g}")
            for label in ("Contributors", "Builder", "Stakers", "Platform")
        ],
        "shares": [
            {"label": names.get(person["user"], "contributor"), "value": person["weight"]}
            for person in body["contributors"]
        ],
        "sources": [
            {
                "record_id": record_id,
                "card": cards.get(record_id),
                "percent": part / 10_000_000,
                "bm25": _lexical_shown(cards.get(record_id), lexical),
            }
            for record_id, part in sorted(record_parts.items(), key=lambda item: -item[1])
        ],
        **lineage_view(user, inference),
        **verbatim_view(body, inference.answer, cards),
        **retrieval_view(body, cards),
    }


def _lexical_shown(card: RecordCard | None, lexical: dict[str, float]) -> float | None:
    """How well the question's words fit a row, for whoever may read the row now."""
    return lexical.get(card.record_id, 0.0) if is_readable(card) else None


def _why_missing(body: dict[str, Any]) -> str:
    return str(body["evidence"].get("influence_missing") or "failed")


def _why_not_replayed(influence: dict[str, Any] | None) -> str:
    """Why the index that scored the answer is gone; empty while its scores can be recomputed."""
    if influence is None:
        return ""
    index = index_of(influence["attribution"]["adapter_digest"])
    earlier = index.earlier_digests if index is not None else {}
    return str(earlier.get(influence["attribution"]["index_digest"], ""))


def _split_lines(body: dict[str, Any], names: dict[str, str]) -> list[dict[str, Any]]:
    lines = [
        {"label": f"Contributor {names.get(person['user'], '')}", "wei": int(person["wei"])}
        for person in body["contributors"]
    ]
    labels = {
        "reserve_wei": "Contributors' reserve",
        "builder_wei": "Builder",
        "stakers_wei": "Stakers",
        "platform_wei": "Platform",
        "dust_wei": "Rounding",
        "maker_wei": "Maker of the agent",
    }
    lines += [
        {"label": label, "wei": int(body["split"][name])}
        for name, label in labels.items()
        if int(body["split"].get(name, 0))
    ]
    return lines
