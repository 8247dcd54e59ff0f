"""Make an agent of a model, change it, retire it and bring it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from marketplace.models import Agent, AgentVersion
from modelfactory.models import Model
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict


class AgentSlugTaken(Conflict):
    code = "slug_taken"
    message = "Another agent has this address. Choose another one."


@dataclass(frozen=True)
class Answering:
    """What answers depend on, and what is asked for them; a change of it is a new version."""

    instructions: str
    rows: str
    max_tokens: int
    maker_ppm: int = 0


def make_agent(
    *, owner: User, model: Model, slug: str, answering: Answering, **shown: Any
) -> Agent:
    """Make the agent with its first version; the caller knows that `owner` may use the model.

    `shown`: name, summary, opening, visibility, shows_instructions, answer_cap_wei and
    caller_day_wei. Raises `AgentSlugTaken`.
    """
    with transaction.atomic():
        try:
            with transaction.atomic():
                agent = Agent.objects.create(owner=owner, model=model, slug=slug, **shown)
        except IntegrityError as problem:
            if not Agent.objects.filter(slug=slug).exists():
                raise
            raise AgentSlugTaken(where="slug") from problem
        version = _keep_version(agent, 1, answering)
        record_audit("agent.made", actor=owner, subject=agent.subject, digest=version.digest)
    return agent


def change_agent(*, agent: Agent, answering: Answering, **shown: Any) -> Agent:
    """What it says of itself, its budget and policy, and with a new version what it answers with.

    Answers under way and old receipts keep the version that they were asked of.
    """
    with transaction.atomic():
        agent = (
            Agent.objects.select_for_update(of=("self",)).select_related("model").get(pk=agent.pk)
        )
        for name, value in shown.items():
            setattr(agent, name, value)
        agent.save(update_fields=list(shown))
        version = agent.newest
        if answering != _answering(version):
            version = _keep_version(agent, version.number + 1, answering)
        record_audit(
            "agent.changed", actor=agent.owner, subject=agent.subject, digest=version.digest
        )
    return agent


def retire_agent(*, agent: Agent, back: bool = False) -> Agent:
    """From now on it answers nobody, or with `back` again. Doing it twice changes nothing."""
    with transaction.atomic():
        changed = Agent.objects.filter(pk=agent.pk, retired_at__isnull=not back).update(
            retired_at=None if back else timezone.now()
        )
        if changed:
            action = "agent.brought_back" if back else "agent.retired"
            record_audit(action, actor=agent.owner, subject=agent.subject)
    agent.refresh_from_db(fields=["retired_at"])
    return agent


def _answering(version: AgentVersion) -> Answering:
    return Answering(version.instructions, version.rows, version.max_tokens, version.maker_ppm)


def _keep_version(agent: Agent, number: int, answering: Answering) -> AgentVersion:
    version = AgentVersion(
        agent=agent,
        number=number,
        instructions=answering.instructions,
        rows=answering.rows,
        max_tokens=answering.max_tokens,
        maker_ppm=answering.maker_ppm,
    )
    version.digest = version.digest_over(agent.model.adapter_digest)
    version.save()
    return version
