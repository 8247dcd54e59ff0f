"""Grants: what unlocks when, in public, and releasing one's own."""

from __future__ import annotations

from uuid import uuid4

from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.idempotency import idempotent
from rewards import services
from rewards.selectors import vesting as selectors
from rewards.views.money import is_transaction_hash, wallet_contracts

GRANTS_A_PAGE = 25


@login_not_required
@require_GET
def unlock_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(selectors.grants(), GRANTS_A_PAGE).get_page(request.GET.get("page"))
    own = selectors.grants_of(signed_in_user(request)) if request.user.is_authenticated else []
    context = {
        "unlocks": selectors.unlocks(),
        "page": page,
        "figures": [selectors.figures_of(grant) for grant in page],
        "grants": own,
        "contracts": wallet_contracts(),
        "now": timezone.now(),
        "idempotency_key": uuid4(),
    }
    return render(request, "rewards/unlocks.html", context)


@require_GET
def release_state(request: HttpRequest) -> HttpResponse:
    """Whether the release of `?transaction=` is read by now."""
    sought = request.GET.get("transaction", "")
    done = is_transaction_hash(sought) and selectors.is_released(signed_in_user(request), sought)
    return render(request, "rewards/_release_done.html", {"done": done})


@require_POST
@idempotent
def grant_release(request: HttpRequest, wallet: str) -> HttpResponse:
    """Sent by the site, for whom the grant pays; others get 404."""
    grant = selectors.grant_for_owner(signed_in_user(request), wallet)
    services.release_grant(grant=grant, actor=signed_in_user(request))
    return redirect(reverse("rewards:earnings"))
