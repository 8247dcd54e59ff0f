"""Agents: find, make, change and retire them. Their chat is beside that of models."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from marketplace import selectors
from marketplace.agent_forms import (
    READ_TOKENS,
    AgentForm,
    TakedownAnswerForm,
    TakedownAppealForm,
    TakedownForm,
)
from marketplace.agent_words import abilities
from marketplace.maker_part import with_maker_part
from marketplace.models import Agent
from marketplace.services import change_agent, make_agent, retire_agent
from marketplace.services.make_agent import AgentSlugTaken
from modelfactory.selectors import model_for
from modelfactory.services import price_wei
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.idempotency import idempotent

AGENTS_PER_PAGE = 24


@login_not_required
@require_GET
def agent_list(request: HttpRequest) -> HttpResponse:
    search = request.GET.get("q", "")[:100]
    found = Paginator(selectors.listed_agents(request.user, search=search), AGENTS_PER_PAGE)
    context = {
        "page": found.get_page(request.GET.get("page")),
        "search": search,
        "retired": selectors.retired_agents_of(request.user)[:AGENTS_PER_PAGE],
        "taken_down": selectors.taken_down_agents_of(request.user)[:AGENTS_PER_PAGE],
    }
    return render(request, "marketplace/agent_list.html", context)


@require_http_methods(["GET", "POST"])
@idempotent
def agent_new(request: HttpRequest) -> HttpResponse:
    """First a model, in the address; then the form."""
    slug = request.POST.get("model") or request.GET.get("model", "")
    if not slug:
        return _choose_model(request)
    model = model_for(request.user, slug.replace("\x00", ""))
    form = AgentForm(request.POST or None, model=model)
    if form.is_valid():
        try:
            made = make_agent(owner=signed_in_user(request), model=model, **form.as_arguments())
            return redirect(made)
        except AgentSlugTaken as taken:
            form.add_error("slug", taken.message)  # with all that was typed
    return _form_page(request, form, None)


def _choose_model(request: HttpRequest) -> HttpResponse:
    search = request.GET.get("q", "")[:100]
    found = Paginator(selectors.listed_models(request.user, search=search), AGENTS_PER_PAGE)
    context = {"page": found.get_page(request.GET.get("page")), "search": search}
    return render(request, "marketplace/agent_choose.html", context)


@require_http_methods(["GET", "POST"])
@idempotent
def agent_edit(request: HttpRequest, slug: str) -> HttpResponse:
    agent = selectors.agent_owned_by(request.user, slug)
    form = AgentForm(request.POST or None, model=agent.model, agent=agent)
    if form.is_valid():
        change_agent(agent=agent, **form.as_arguments())
        messages.success(request, "Saved. It holds for the next question.")
        return redirect(agent)
    return _form_page(request, form, agent)


def _form_page(request: HttpRequest, form: AgentForm, agent: Agent | None) -> HttpResponse:
    context = {
        "form": form,
        "agent": agent,
        "model": form.model,
        "idempotency_key": uuid.uuid4(),
    }
    status = 422 if form.is_bound else 200
    return render(request, "marketplace/agent_form.html", context, status=status)


@login_not_required
@require_GET
def agent_detail(request: HttpRequest, slug: str) -> HttpResponse:
    agent = selectors.agent_for(request.user, slug)
    if not selectors.shows_words(request.user, agent):
        return render(request, "marketplace/agent_taken_down.html", {"agent": agent})
    context = agent_context(request, agent)
    return render(request, "marketplace/agent_detail.html", context)


def agent_context(request: HttpRequest, agent: Agent) -> dict[str, Any]:
    version, owns = agent.newest, request.user.pk == agent.owner_id
    return {
        "agent": agent,
        "model": agent.model,
        "version": version,
        "abilities": abilities(agent.model, version),
        "owns": owns,
        "may_take_down": request.user.is_staff and not owns,
        "takedown_form": TakedownForm(),
        "appeal_form": TakedownAppealForm(),
        "answer_form": TakedownAnswerForm(),
        "idempotency_key": uuid.uuid4(),
        "reads_instructions": owns or agent.shows_instructions,
        "versions": agent.versions.all()[:AGENTS_PER_PAGE] if owns else [],
        "read_tokens": READ_TOKENS,
        "example_wei": with_maker_part(
            price_wei(agent.model, READ_TOKENS, version.max_tokens), version.maker_ppm
        ),
        **selectors.agent_income(agent),
    }


@require_POST
def agent_retire(request: HttpRequest, slug: str) -> HttpResponse:
    agent = retire_agent(agent=selectors.agent_owned_by(request.user, slug))
    messages.success(request, "Retired. It answers nobody; you can bring it back.")
    return redirect(agent)


@require_POST
def agent_bring_back(request: HttpRequest, slug: str) -> HttpResponse:
    agent = retire_agent(agent=selectors.agent_owned_by(request.user, slug), back=True)
    messages.success(request, "It answers again.")
    return redirect(agent)
