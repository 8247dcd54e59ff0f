"""Take an agent off the marketplace against its maker's will, hear the maker, bring it back."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models.functions import Now

from marketplace.models import Agent, AgentTakedown
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, NotAllowed
from openledger_site.core.outbox import send_on_commit

MAIL_TASK = "marketplace.mail_about_takedown"


class NotTakenDown(Conflict):
    code = "agent_not_taken_down"
    message = "This agent is not taken down."


class AppealedBefore(Conflict):
    code = "takedown_appealed"
    message = "You appealed before. The staff answers each takedown once."


def take_down_agent(*, agent: Agent, by: User, reason: str, words: str = "") -> AgentTakedown:
    """From now on it answers nobody and is in no list; its maker is told why by mail.

    Doing it twice changes nothing. Raises `NotAllowed` for anybody but staff.
    """
    _check_staff(by, agent)
    with transaction.atomic():
        agent = _locked(agent)
        if agent.takedown is not None:
            return agent.takedown
        takedown = AgentTakedown.objects.create(
            agent=agent, reason=reason, words=words, taken_by=by
        )
        agent.takedown = takedown
        agent.save(update_fields=["takedown"])
        record_audit("agent.taken_down", actor=by, subject=agent.subject, reason=reason)
        send_on_commit(MAIL_TASK, queue="mail", takedown_id=takedown.pk)
    takedown.refresh_from_db()
    return takedown


def appeal_takedown(*, agent: Agent, by: User, words: str) -> AgentTakedown:
    """The maker's own words, once. Raises `NotTakenDown`, `AppealedBefore`."""
    if by.pk != agent.owner_id:
        raise NotAllowed("Only whoever made an agent can appeal.")
    with transaction.atomic():
        takedown = _standing(_locked(agent))
        if not takedown.may_appeal:
            raise AppealedBefore()
        takedown.appeal_words, takedown.appealed_at = words, Now()
        takedown.save(update_fields=["appeal_words", "appealed_at"])
        record_audit("agent.takedown_appealed", actor=by, subject=agent.subject)
    takedown.refresh_from_db()
    return takedown


def answer_takedown(*, agent: Agent, by: User, back: bool, words: str = "") -> AgentTakedown:
    """Bring it back, or leave it down for good reason; the maker reads `words`.

    Raises `NotTakenDown`, and `NotAllowed` for anybody but staff who did not make it.
    """
    _check_staff(by, agent)
    with transaction.atomic():
        agent = _locked(agent)
        takedown = _standing(agent)
        takedown.answer_words, takedown.answered_by, takedown.answered_at = words, by, Now()
        if back:
            takedown.ended_at = Now()
            agent.takedown = None
            agent.save(update_fields=["takedown"])
        takedown.save(update_fields=["answer_words", "answered_by", "answered_at", "ended_at"])
        action = "agent.takedown_ended" if back else "agent.takedown_upheld"
        record_audit(action, actor=by, subject=agent.subject)
        send_on_commit(MAIL_TASK, queue="mail", takedown_id=takedown.pk)
    takedown.refresh_from_db()
    return takedown


def _check_staff(person: User, agent: Agent) -> None:
    if not person.is_staff or person.pk == agent.owner_id:
        raise NotAllowed("The staff decides about other people's agents.")


def _locked(agent: Agent) -> Agent:
    return Agent.objects.select_for_update(of=("self",)).select_related("takedown").get(pk=agent.pk)


def _standing(agent: Agent) -> AgentTakedown:
    if agent.takedown is None:
        raise NotTakenDown()
    return agent.takedown


def mail_about_takedown(takedown_id: int) -> int:
    """Tell the maker where it stands; returns the number of messages."""
    rows = AgentTakedown.objects.select_related("agent__owner")
    takedown = rows.filter(pk=takedown_id).first()
    email = takedown.agent.owner.email if takedown else None
    if takedown is None or not email:
        return 0
    agent, reason = takedown.agent, takedown.get_reason_display().lower()
    if takedown.ended_at is not None:
        subject, state = f"{agent.name} answers again", "The staff brought your agent back."
    elif takedown.answered_at is not None:
        subject, state = f"{agent.name} stays down", f"It stays taken down: {reason}."
    else:
        subject = f"{agent.name} was taken down"
        state = f"The staff took your agent down: {reason}. You can appeal once, on its page."
    words = takedown.answer_words if takedown.answered_at else takedown.words
    body = "\n\n".join(
        part for part in (state, words, settings.SITE_URL + agent.get_absolute_url()) if part
    )
    return EmailMessage(subject, body + "\n", to=[email]).send()
