"""What answers cost a person, month by month, and the caps on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from marketplace import selectors, services
from marketplace.forms import SpendingCapForm
from openledger_site.accounts.requests import signed_in_user
from openledger_site.accounts.selectors import api_key_for
from openledger_site.core.csv_export import csv_response
from openledger_site.core.form_fields import require_valid
from openledger_site.core.money import WEI_PER_OPEN


@require_GET
def spending(request: HttpRequest) -> HttpResponse:
    month = selectors.Month.named(request.GET.get("month", ""))
    found = selectors.spending_of(request.user, month)
    own, keys = selectors.caps_of(request.user)
    context = {
        "month": month,
        **found,
        # For the eye only: the table beside it has the exact figures.
        "curve": [{"name": "OPEN a day", "points": _points(found["by_day"])}],
        "cap": own,
        "cap_form": SpendingCapForm.of(own),
        "keys": [
            (key, SpendingCapForm.of(getattr(key, "spending_cap", None), str(key.public_id)))
            for key in keys
        ],
    }
    return render(request, "marketplace/spending.html", context)


def _points(by_day: list[tuple[int, int]]) -> list[tuple[int, float]]:
    return [(day, wei / WEI_PER_OPEN) for day, wei in by_day]


@require_GET
def invoice(request: HttpRequest) -> HttpResponseBase:
    month = selectors.Month.named(request.GET.get("month", ""))
    rows = selectors.invoice_rows(request.user, month)
    return csv_response(rows, f"openledger-answers-{month.name}.csv")


@require_POST
def cap_set(request: HttpRequest) -> HttpResponse:
    form = SpendingCapForm(request.POST)
    services.set_spending_cap(consumer=signed_in_user(request), api_key=None, **_checked(form))
    messages.success(request, "Saved. It holds for your next question.")
    return redirect("marketplace:spending")


@require_POST
def key_cap_set(request: HttpRequest, public_id: UUID) -> HttpResponse:
    key = api_key_for(signed_in_user(request), public_id)
    form = SpendingCapForm(request.POST, prefix=str(public_id))
    services.set_spending_cap(consumer=signed_in_user(request), api_key=key, **_checked(form))
    messages.success(request, f"Saved for the key “{key.name}”.")
    return redirect("marketplace:spending")


def _checked(form: SpendingCapForm) -> dict[str, Any]:
    """Raises `DomainError` (422) with the first wrong field."""
    require_valid(form)
    return form.as_arguments()
