"""Ask for a fee back, and decide about it."""

from __future__ import annotations

import uuid
from typing import cast
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from marketplace import selectors
from marketplace.forms import RefundDecisionForm, RefundForm
from marketplace.services import ask_for_refund
from openledger_site.accounts.models import User
from openledger_site.core.errors import NotAllowed
from openledger_site.core.idempotency import idempotent
from rewards.services import decide_refund


@require_http_methods(["GET", "POST"])
@idempotent
def refund_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """For whoever paid for the answer."""
    inference = selectors.inference_for(request.user, public_id)
    form = RefundForm(request.POST or None)
    if form.is_valid():
        asked = ask_for_refund(
            inference=inference, asked_by=cast(User, request.user), **form.cleaned_data
        )
        return redirect("marketplace:refund", asked.public_id)
    context = {"inference": inference, "form": form, "idempotency_key": uuid.uuid4()}
    if inference.settled:
        context |= selectors.refund_state(inference)
    status = 422 if request.method == "POST" else 200
    return render(request, "marketplace/refund_new.html", context, status=status)


@require_http_methods(["GET", "POST"])
@idempotent
def refund(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One request: its payer follows it, the staff decides it."""
    found = selectors.refund_for(request.user, public_id)
    form = RefundDecisionForm(request.POST or None)
    if request.method == "POST" and not request.user.is_staff:
        raise NotAllowed("The staff decides about refunds.")
    if form.is_valid():
        decide_refund(found, decided_by=cast(User, request.user), **form.as_arguments())
        return redirect("marketplace:refund", found.public_id)
    context = {
        "asked": found,
        "settlement": found.settlement,
        "is_payer": found.asked_by_id == request.user.pk,
        "may_decide": found.waiting
        and request.user.is_staff
        and found.asked_by_id != request.user.pk,
        "form": form,
        "idempotency_key": uuid.uuid4(),
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "marketplace/refund.html", context, status=status)
