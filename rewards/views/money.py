"""Balance, earnings, epochs and the state of the books."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from openledger_site.accounts.models import User
from openledger_site.accounts.requests import signed_in_user
from openledger_site.accounts.selectors import wallets_of
from openledger_site.core.csv_export import csv_response, json_response
from openledger_site.core.idempotency import idempotent
from rewards import selectors, services
from rewards.book_words import checks_in_words, figures_in_words
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.forms.deposits import DepositForm
from rewards.forms.withdrawals import WithdrawForm
from rewards.selectors.vesting import grants_of
from rewards.selectors.withdrawals import (
    payable_addresses_of,
    progress_of,
    withdrawable_wei,
    withdrawals_of,
)
from rewards.services.chain import deployed_addresses

ROWS_A_PAGE = 25


def wallet_contracts() -> dict[str, Any] | None:
    """What a wallet needs to know; None before deployment."""
    addresses = deployed_addresses()
    if addresses is None:
        return None
    # A public RPC address may carry an access key: only the local one is told.
    is_local = settings.CHAIN_ID == DEVELOPMENT_CHAIN_ID
    return {
        "addresses": addresses,
        "rpc_url": settings.CHAIN_RPC_URL if is_local else "",
        "relay_url": reverse("rewards:relay-order") if services.is_relay_offered() else "",
    }


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    return render(request, "rewards/overview.html", overview_context(request))


@require_GET
def summary(request: HttpRequest) -> HttpResponse:
    """A part of the front page."""
    user = signed_in_user(request)
    context = {
        "balance": selectors.balance_of(user),
        "summary": selectors.earnings_summary(user),
    }
    return render(request, "rewards/_summary.html", context)


def overview_context(request: HttpRequest) -> dict[str, Any]:
    user = signed_in_user(request)
    entries = Paginator(selectors.statement_of(user), ROWS_A_PAGE)
    payable_addresses = payable_addresses_of(user)
    return withdrawals_context(user) | {
        "balance": selectors.balance_of(user),
        "wallets": wallets_of(user),
        "payable_addresses": payable_addresses,
        "deposits": selectors.deposits_of(user)[:5],
        "page": entries.get_page(request.GET.get("page")),
        "contracts": wallet_contracts(),
        "form": DepositForm(),
        "withdraw_form": WithdrawForm(payable_addresses),
        "withdrawable_wei": withdrawable_wei(user),
        "withdraw_minimum_wei": settings.WITHDRAWAL_MINIMUM_WEI,
        "withdrawals_per_day": settings.WITHDRAWALS_PER_DAY,
        "freeze": selectors.payout_freeze(),
        "idempotency_key": uuid4(),
    }


def withdrawals_context(user: User) -> dict[str, Any]:
    """The newest withdrawals, and whether one of them is still on its way."""
    newest = [progress_of(withdrawal) for withdrawal in withdrawals_of(user)[:5]]
    return {"withdrawals": newest, "some_open": any(progress.is_open for progress in newest)}


@require_GET
def deposit_state(request: HttpRequest) -> HttpResponse:
    """The newest deposits; `?transaction=` says whether that one is credited."""
    deposits = selectors.deposits_of(signed_in_user(request))
    sought = request.GET.get("transaction", "")
    context = {
        "deposits": deposits[:5],
        "done": is_transaction_hash(sought)
        and deposits.filter(transaction_hash=sought, state="credited").exists(),
    }
    return render(request, "rewards/_deposits.html", context)


@require_GET
def claim_state(request: HttpRequest) -> HttpResponse:
    """The newest claims; `?transaction=` says whether that one is booked."""
    claims = selectors.claims_of(signed_in_user(request))
    sought = request.GET.get("transaction", "")
    context = {
        "claims": claims[:5],
        "done": is_transaction_hash(sought)
        and claims.filter(transaction_hash=sought, state="paid").exists(),
    }
    return render(request, "rewards/_claims.html", context)


def is_transaction_hash(text: str) -> bool:
    return re.fullmatch(r"0x[0-9a-f]{64}", text) is not None


@require_GET
def statement_export(request: HttpRequest) -> HttpResponseBase:
    rows = selectors.statement_rows(signed_in_user(request))
    return csv_response(rows, "openledger-statement.csv")


@require_GET
def statement_json(request: HttpRequest) -> HttpResponseBase:
    rows = selectors.statement_rows(signed_in_user(request))
    return json_response(rows, "openledger-statement.json")


@require_GET
def earnings(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    lines = Paginator(selectors.earning_lines_of(user), ROWS_A_PAGE)
    claims_open = selectors.claims_open_for(user)
    summary = selectors.earnings_summary(user)
    context = {
        "summary": summary,
        "forecast": selectors.forecast_of(user, summary),
        "claims_open": [claim for claim in claims_open if claim.amount_wei > 0],
        "claims": selectors.claims_of(user)[:5],
        "wallets": wallets_of(user),
        "payable_addresses": payable_addresses_of(user),
        "page": lines.get_page(request.GET.get("page")),
        "contracts": wallet_contracts(),
        "freeze": selectors.payout_freeze(),
        "grants": grants_of(user),
        "idempotency_key": uuid4(),
    }
    return render(request, "rewards/earnings.html", context)


@login_not_required
@require_GET
def epoch_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(selectors.epochs(), ROWS_A_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "freeze": selectors.payout_freeze(), "idempotency_key": uuid4()}
    return render(request, "rewards/epoch_list.html", context)


@login_not_required
@require_GET
def epoch_detail(request: HttpRequest, number: int) -> HttpResponse:
    epoch = selectors.epoch_by(number)
    context = {"epoch": epoch, "transactions": selectors.epoch_transactions(epoch)}
    return render(request, "rewards/epoch_detail.html", context)


@login_not_required
@require_GET
def epoch_leaves(request: HttpRequest, number: int) -> HttpResponse:
    """The very bytes whose SHA-256 is on chain."""
    content = selectors.leaf_file_of(selectors.epoch_by(number))
    return HttpResponse(content, content_type="application/json")


@require_POST
@idempotent
def epoch_close(request: HttpRequest) -> HttpResponse:
    if not signed_in_user(request).is_staff:
        raise Http404
    epoch = services.close_epoch(actor=signed_in_user(request))
    return redirect(reverse("rewards:epoch-detail", args=[epoch.number]))


@login_not_required
@require_GET
def status(request: HttpRequest) -> HttpResponse:
    run = selectors.last_reconcile()
    report = run.report if run is not None else {}
    context = {
        "run": run,
        "freeze": selectors.payout_freeze(),
        "checks": checks_in_words(report),
        "figures": figures_in_words(report),
    }
    return render(request, "rewards/status.html", context)
