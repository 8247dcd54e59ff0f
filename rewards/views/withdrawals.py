"""Taking a balance back to a wallet: asking, how far it is, and calling it back."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError
from openledger_site.core.idempotency import idempotent
from openledger_site.core.money import format_open
from rewards import services
from rewards.forms.withdrawals import WithdrawForm
from rewards.selectors.withdrawals import (
    STEPS,
    payable_addresses_of,
    progress_of,
    withdrawal_for,
)
from rewards.views.money import overview_context, withdrawals_context


@require_POST
@idempotent
def withdrawal_new(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    form = WithdrawForm(payable_addresses_of(user), request.POST)
    if form.is_valid():
        try:
            withdrawal = services.ask_withdrawal(
                user=user,
                address=form.cleaned_data["address"],
                amount_wei=form.cleaned_data["amount"],
            )
            return redirect(reverse("rewards:withdrawal-detail", args=[withdrawal.public_id]))
        except DomainError as refusal:
            form.add_error(refusal.where if refusal.where in form.fields else None, str(refusal))
    context = overview_context(request) | {"withdraw_form": form}
    return render(request, "rewards/overview.html", context, status=422)


@require_GET
def withdrawal_state(request: HttpRequest) -> HttpResponse:
    """The newest ones: a part of the balance page that keeps itself up to date."""
    context = withdrawals_context(signed_in_user(request))
    return render(request, "rewards/_withdrawals.html", context)


@require_GET
def withdrawal_detail(request: HttpRequest, public_id: UUID) -> HttpResponse:
    progress = progress_of(withdrawal_for(signed_in_user(request), public_id))
    context = {"progress": progress, "withdrawal": progress.withdrawal, "steps": STEPS}
    return render(request, "rewards/withdrawal_detail.html", context)


@require_POST
@idempotent
def withdrawal_cancel(request: HttpRequest, public_id: UUID) -> HttpResponse:
    user = signed_in_user(request)
    withdrawal = withdrawal_for(user, public_id)
    services.cancel_withdrawal(withdrawal=withdrawal, actor=user)
    amount = format_open(withdrawal.amount_wei, digits=18)
    messages.success(request, f"Cancelled: {amount} OPEN are back on your balance.")
    return redirect(reverse("rewards:withdrawal-detail", args=[public_id]))
