"""The staff takes an agent down, its maker appeals, the staff answers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from marketplace import selectors
from marketplace.agent_forms import TakedownAnswerForm, TakedownAppealForm, TakedownForm
from marketplace.services import answer_takedown, appeal_takedown, take_down_agent
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.form_fields import require_valid
from openledger_site.core.idempotency import idempotent


@require_POST
@idempotent
def take_down(request: HttpRequest, slug: str) -> HttpResponse:
    agent = selectors.agent_for_staff(request.user, slug)
    form = TakedownForm(request.POST)
    require_valid(form)
    take_down_agent(agent=agent, by=signed_in_user(request), **form.cleaned_data)
    return redirect(agent)


@require_POST
@idempotent
def appeal(request: HttpRequest, slug: str) -> HttpResponse:
    agent = selectors.agent_owned_by(request.user, slug)
    form = TakedownAppealForm(request.POST)
    require_valid(form)
    appeal_takedown(agent=agent, by=signed_in_user(request), **form.cleaned_data)
    return redirect(agent)


@require_POST
@idempotent
def answer(request: HttpRequest, slug: str) -> HttpResponse:
    agent = selectors.agent_for_staff(request.user, slug)
    form = TakedownAnswerForm(request.POST)
    require_valid(form)
    answer_takedown(agent=agent, by=signed_in_user(request), **form.as_arguments())
    return redirect(agent)
