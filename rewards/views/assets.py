"""Tokens of Datanets, models and agents: whose they are, what moves with them, and making one."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError
from openledger_site.core.idempotency import idempotent
from rewards import services
from rewards.forms.assets import AssetForm
from rewards.selectors import assets as selectors
from rewards.selectors import wallet_addresses_of
from rewards.selectors.stakes import subject_for
from rewards.selectors.subjects import StakeSubject, may_be_asset
from rewards.services.chain import deployed_addresses


def _subject(request: HttpRequest, kind: str, public_id: UUID) -> StakeSubject:
    """404 for what is hidden, and for what never has a token."""
    if not may_be_asset(kind):
        raise Http404("There is no token of such things.")
    return subject_for(request.user, kind, public_id)


@login_not_required
@require_GET
def asset_detail(request: HttpRequest, kind: str, public_id: UUID) -> HttpResponse:
    subject = _subject(request, kind, public_id)
    return render(request, "rewards/asset_detail.html", _context(request, subject))


@login_not_required
@require_GET
def asset_panel(request: HttpRequest, kind: str, public_id: UUID) -> HttpResponse:
    """A part of a page of another app: whether its thing has a token, and whose it is."""
    subject = _subject(request, kind, public_id)
    return render(request, "rewards/_asset_panel.html", _context(request, subject))


def _context(request: HttpRequest, subject: StakeSubject) -> dict[str, Any]:
    asset, contracts = selectors.asset_of(subject.subject), deployed_addresses()
    transfers = list(selectors.transfers_of(asset)[:20]) if asset else []
    people = selectors.people_of(transfer.receiver for transfer in transfers)
    owns = request.user.is_authenticated and request.user.pk == subject.owner_id
    failed = asset is not None and not asset.holder and asset.chain_transaction.state == "failed"
    return {
        "subject": subject,
        "asset": asset,
        "contract": contracts.assets if contracts else "",
        "holder": people.get(asset.holder) if asset else None,
        "transfers": [(transfer, people.get(transfer.receiver)) for transfer in transfers],
        "may_register": owns and (asset is None or failed),
        "form": AssetForm(wallet_addresses_of(signed_in_user(request)) if owns else []),
        "idempotency_key": uuid4(),
    }


@require_POST
@idempotent
def asset_register(request: HttpRequest, kind: str, public_id: UUID) -> HttpResponse:
    """For the owner; others get 404."""
    subject = _subject(request, kind, public_id)
    if signed_in_user(request).pk != subject.owner_id:
        raise Http404("Only its owner makes it an asset.")
    form = AssetForm(wallet_addresses_of(signed_in_user(request)), request.POST)
    if not form.is_valid():
        field, problems = next(iter(form.errors.items()))
        raise DomainError(str(problems[0]), where=field)
    services.register_asset(
        subject=subject,
        maker=signed_in_user(request),
        address=form.cleaned_data["address"],
        royalty_bps=form.cleaned_data["royalty"],
    )
    return redirect(reverse("rewards:asset", args=[subject.kind, subject.public_id]))


@login_not_required
@require_GET
def asset_metadata(request: HttpRequest, number: str) -> HttpResponse:
    """The very bytes whose keccak-256 is on chain, for whoever may see the thing."""
    asset = selectors.metadata_for(request.user, number)
    return HttpResponse(asset.metadata, content_type="application/json")
