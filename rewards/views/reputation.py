"""Reputation: one's own with its grounds, anybody's number, and the token that shows it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from openledger_site.accounts.models import User
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.idempotency import idempotent
from rewards import selectors, services
from rewards.reputation import FORMULA
from rewards.selectors import reputation as reputations
from rewards.services.chain import deployed_addresses


@require_GET
def reputation(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    context = {
        "grounds": reputations.explained(user),
        "voice_wei": settings.REPUTATION_VOICE_WEI,
        "addresses": selectors.wallet_addresses_of(user),
        "idempotency_key": uuid4(),
        **_token(user),
    }
    return render(request, "rewards/reputation.html", context)


@require_GET
def reputation_token(request: HttpRequest) -> HttpResponse:
    """The part of the page that follows a writing to the chain."""
    return render(request, "rewards/_reputation_token.html", _token(signed_in_user(request)))


def _token(user: User) -> dict[str, Any]:
    contracts = deployed_addresses()
    return {
        "reputation": reputations.reputation_of(user),
        "issue": reputations.issues_of(user).first(),
        "token": contracts.reputation if contracts else "",
    }


@require_GET
def reputation_json(request: HttpRequest) -> HttpResponseBase:
    """All that goes into one's own number, to compute it again."""
    grounds = reputations.explained(signed_in_user(request))
    document = {"formula": FORMULA, "voice_wei": str(settings.REPUTATION_VOICE_WEI)}
    return JsonResponse(document | grounds.as_dict(), json_dumps_params={"indent": 1})


@require_POST
@idempotent
def reputation_write(request: HttpRequest) -> HttpResponse:
    services.issue_reputation(signed_in_user(request), request.POST.get("address", ""))
    return redirect(reverse("rewards:reputation") + "#token")


@login_not_required
@require_GET
def person(request: HttpRequest, public_id: UUID) -> HttpResponse:
    found = reputations.person_with_reputation(public_id)
    contracts = deployed_addresses()
    context = {
        "reputation": found,
        "issue": reputations.shown_issue(found.user),
        "token": contracts.reputation if contracts else "",
        "voice_wei": settings.REPUTATION_VOICE_WEI,
    }
    return render(request, "rewards/person.html", context)
