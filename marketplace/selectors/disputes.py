"""Disputes: seen by who raised them, by the owner of the model, and by staff."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404

from datanets.selectors import RecordCard, record_cards
from marketplace.models import Dispute, Inference


def dispute_for(user: Any, public_id: UUID) -> Dispute:
    """The dispute, for its raiser, the model's owner and staff; 404 for everybody else."""
    found = Dispute.objects.filter(public_id=public_id)
    if not user.is_staff:
        found = found.filter(Q(raised_by_id=user.pk) | Q(inference__model__owner_id=user.pk))
    dispute = found.select_related("inference__model", "raised_by", "job").first()
    if dispute is None:
        raise Http404("No such dispute.")
    return dispute


def disputes_about(user: Any, inference: Inference) -> QuerySet[Dispute]:
    """The reader's own disputes about an answer, or all of them for the model's owner."""
    found = inference.disputes.select_related("raised_by", "job").order_by("-id")
    return found if inference.model.owner_id == user.pk else found.filter(raised_by_id=user.pk)


def dispute_records(user: Any, dispute: Dispute) -> list[RecordCard]:
    """The rows in question, with their text only where this reader has a right to it."""
    cards = record_cards(user, dispute.records)
    return [cards[record_id] for record_id in dispute.records if record_id in cards]
