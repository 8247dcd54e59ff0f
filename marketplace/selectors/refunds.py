"""Requests for refunds: the payer's own, and all of them for the staff."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import Http404
from django.utils import timezone

from marketplace.models import Inference
from rewards.models import RefundRequest
from rewards.services import refund_window_ends


def refund_for(user: Any, public_id: UUID) -> RefundRequest:
    """The request, for its payer and for the staff; 404 for everybody else."""
    allowed = Q() if user.is_staff else Q(asked_by_id=user.pk)
    found = RefundRequest.objects.select_related(
        "settlement__refund", "settlement__parameters", "asked_by", "decided_by"
    )
    request = found.filter(allowed, public_id=public_id).first()
    if request is None:
        raise Http404("No such request.")
    return request


def refund_state(inference: Inference) -> dict[str, Any]:
    """What the receipt page says of refunds: asked and decided, or until when one can ask."""
    settlement = inference.hold.settlement
    request = RefundRequest.objects.filter(settlement=settlement).first()
    window_ends = refund_window_ends(settlement)
    may_ask = not request and settlement.refund_id is None and settlement.fee_wei > 0
    return {
        "refund_request": request,
        "refunded": settlement.refund_id is not None,
        "refund_window_ends": window_ends,
        "may_ask_refund": may_ask and window_ends > timezone.now(),
    }
