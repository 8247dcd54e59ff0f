"""Doubt an attribution, and follow the audit."""

from __future__ import annotations

import uuid
from typing import cast
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from marketplace import selectors
from marketplace.forms import DisputeForm
from marketplace.services import audit_again, raise_dispute
from openledger_site.accounts.models import User
from openledger_site.core.idempotency import idempotent


@require_http_methods(["GET", "POST"])
@idempotent
def dispute_new(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """For those whose own rows taught the model: nobody else has anything to leave out."""
    inference = selectors.concerned_answer_for(request.user, public_id)
    if not selectors.taught_records(request.user, inference).exists():
        raise Http404("None of your rows taught this model.")
    listed = selectors.disputable_rows(request.user, inference)
    form = DisputeForm(request.POST or None, listed=listed)
    if form.is_valid():
        raised = raise_dispute(
            inference=inference, raised_by=cast(User, request.user), **form.cleaned_data
        )
        return redirect("marketplace:dispute", raised.public_id)
    context = {"inference": inference, "form": form, "idempotency_key": uuid.uuid4()}
    status = 422 if request.method == "POST" else 200
    return render(request, "marketplace/dispute_new.html", context, status=status)


@require_GET
def dispute(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """One dispute; its part for htmx is fetched again while the audit runs."""
    found = selectors.dispute_for(request.user, public_id)
    part = "#state" if getattr(request, "htmx", False) else ""
    context = {
        "dispute": found,
        "job": found.job,
        "rows": selectors.dispute_records(request.user, found),
        "is_raiser": found.raised_by_id == request.user.pk,
        "is_concerned": request.user.pk in (found.raised_by_id, found.inference.model.owner_id),
        "idempotency_key": uuid.uuid4(),
    }
    return render(request, f"marketplace/dispute.html{part}", context)


@require_POST
@idempotent
def dispute_again(request: HttpRequest, public_id: UUID) -> HttpResponse:
    found = selectors.dispute_for(request.user, public_id)
    audit_again(dispute=found, actor=cast(User, request.user))
    return redirect("marketplace:dispute", found.public_id)
