"""Agents, for whoever may use the model behind them; strangers get 404."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum
from django.http import Http404

from marketplace.models import Agent, AgentVersion, Inference
from marketplace.selectors.answers import model_named
from modelfactory.models import Model
from modelfactory.selectors import models_visible_to

PREFIX = "agent/"


def agents_visible_to(user: Any) -> QuerySet[Agent]:
    """Public agents and one's own, over models that this person may use; retired ones too."""
    visible = Q(visibility=Agent.Visibility.PUBLIC)
    if user.is_authenticated:
        visible |= Q(owner_id=user.pk)
    usable = models_visible_to(user).values("pk")
    related = ("owner", "takedown", "model__owner", "model__base", "model__run__version__datanet")
    return Agent.objects.filter(visible, model__in=usable).select_related(*related)


def listed_agents(user: Any, *, search: str = "") -> QuerySet[Agent]:
    """The agents this person may ask, most asked first."""
    found = _counted(agents_visible_to(user)).filter(retired_at__isnull=True, takedown__isnull=True)
    for word in search.split()[:8]:
        found = found.filter(Q(name__icontains=word) | Q(summary__icontains=word))
    return found.order_by("-answers", "-created_at")


def taken_down_agents_of(user: Any) -> QuerySet[Agent]:
    """One's own that the staff took down, newest first."""
    if not user.is_authenticated:
        return Agent.objects.none()
    own = agents_visible_to(user).filter(owner_id=user.pk, takedown__isnull=False)
    return own.order_by("-takedown__taken_at")


def agent_for_staff(user: Any, slug: str) -> Agent:
    """The agent for staff who may see it and did not make it; 404 for everybody else."""
    agent = agent_for(user, slug)
    if not user.is_staff or agent.owner_id == user.pk:
        raise Http404("No such agent.")
    return agent


def retired_agents_of(user: Any) -> QuerySet[Agent]:
    """One's own that were retired, newest first."""
    if not user.is_authenticated:
        return Agent.objects.none()
    own = _counted(agents_visible_to(user)).filter(owner_id=user.pk, retired_at__isnull=False)
    return own.order_by("-retired_at")


def _counted(agents: QuerySet[Agent]) -> QuerySet[Any]:
    settled = Q(versions__inferences__state=Inference.State.SETTLED)
    return agents.annotate(answers=Count("versions__inferences", filter=settled))


def newest_versions(agents: Collection[Agent]) -> dict[int, AgentVersion]:
    """What each of them answers with now, by the agent's key; one query for all."""
    versions = AgentVersion.objects.filter(agent__in=agents).order_by("agent_id", "-number")
    return {version.agent_id: version for version in versions.distinct("agent_id")}


def agent_for(user: Any, slug: str) -> Agent:
    """The agent if `user` may use it and its model; 404 whether it is missing or hidden."""
    agent = agents_visible_to(user).filter(slug=slug).first()
    if agent is None:
        raise Http404("No such agent.")
    return agent


def agent_owned_by(user: Any, slug: str) -> Agent:
    """The agent for its owner; 404 for everybody else, whether they may see it or not."""
    agent = agents_visible_to(user).filter(slug=slug, owner_id=user.pk).first()
    if agent is None:
        raise Http404("No such agent.")
    return agent


def asked_by_name(user: Any, name: str) -> tuple[Model, Agent | None]:
    """A model's name, or `agent/slug`, or `agent/slug@digest12`, which pins what it answers with.

    404 for what this person may not ask; `AgentTakenDown`, with the reason, for what staff stopped.
    """
    if not name.startswith(PREFIX):
        return model_named(user, name), None
    slug, _, digest = name.removeprefix(PREFIX).partition("@")
    if "\x00" in slug:  # what PostgreSQL cannot even look for
        raise Http404("No such agent.")
    agent = agent_for(user, slug)
    agent.check_not_taken_down()
    if agent.retired_at is not None or not agent.newest.digest.startswith(digest):
        raise Http404("Retired, or another version.")
    return agent.model, agent


def agent_income(agent: Agent) -> dict[str, int]:
    """Settled answers given through it that were not refunded: how many, and in wei their fees and
    what of them its maker got.
    """
    kept = Inference.objects.filter(
        agent_version__agent=agent,
        state=Inference.State.SETTLED,
        hold__settlement__refund__isnull=True,
    )
    totals = kept.aggregate(
        answers=Count("pk"), fees=Sum("fee_wei"), maker=Sum("hold__settlement__maker_wei")
    )
    return {
        "answers": totals["answers"],
        "fees_wei": int(totals["fees"] or 0),
        "maker_wei": int(totals["maker"] or 0),
    }


def stake_subjects(user: Any, ids: Collection[UUID]) -> dict[UUID, tuple[str, str, int]]:
    """Name, page and owner of the agents that this person may see and stake on."""
    seen = agents_visible_to(user).filter(public_id__in=ids)
    return {
        row.public_id: (_name_shown(user, row), row.get_absolute_url(), row.owner_id)
        for row in seen
    }


def _name_shown(user: Any, agent: Agent) -> str:
    return agent.name if shows_words(user, agent) else "An agent that was taken down"


def shows_words(user: Any, agent: Agent) -> bool:
    """Those of one that was taken down may be why: they are for its owner and the staff."""
    return agent.takedown is None or agent.owner_id == user.pk or user.is_staff
