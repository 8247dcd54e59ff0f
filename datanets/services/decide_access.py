"""Ask for access, answer, withdraw, revoke. Each tells the other side by mail once it is true."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from datanets.models import AccessGrant, Datanet
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.outbox import send_on_commit

GRANT_DAYS_MAX = 3_650
MAIL_TASK = "datanets.mail_about_grant"
REQUESTS_A_DAY = 3
_State = AccessGrant.State


class TooManyRequests(DomainError):
    status = 429
    code = "too_many_requests"
    message = "You have asked here several times today. Wait for an answer, or ask again tomorrow."


class AnsweredBefore(Conflict):
    code = "answered_before"
    message = "This request was answered or withdrawn before."


def request_access(
    *,
    datanet: Datanet,
    user: User,
    right: str,
    purpose: str,
    term_days: int = 365,
    answers: list[dict[str, str]] | None = None,
) -> AccessGrant:
    """Ask for a right. Asking again while a request or grant is open changes nothing."""
    with transaction.atomic():
        # The Datanet's row is the lock: two requests at once make one.
        Datanet.objects.select_for_update().get(pk=datanet.pk)
        same = datanet.grants.filter(user=user, right=right, state__in=AccessGrant.OPEN).first()
        if same is not None and not same.expired:
            return same
        if same is not None:
            _close(same, _State.EXPIRED, by=None, answer=same.answer)
        _check_rate(datanet, user)
        grant = AccessGrant.objects.create(
            datanet=datanet,
            user=user,
            right=right,
            purpose=purpose,
            term_days=term_days,
            answers=answers or [],
        )
        _tell(grant)
        _write_down(grant, actor=user)
    return grant


def _check_rate(datanet: Datanet, user: User) -> None:
    """Each request is a mail to everybody who decides, with words of the asker's."""
    day = timezone.now() - timedelta(days=1)
    if datanet.grants.filter(user=user, created_at__gt=day).count() >= REQUESTS_A_DAY:
        raise TooManyRequests(limit=REQUESTS_A_DAY)


def decide_grant(
    *, grant: AccessGrant, actor: User, granted: bool, answer: str = "", days: int | None = None
) -> AccessGrant:
    """Grant a waiting request for `days` (the term asked for by default), or refuse it.

    Raises `DomainError` for a term that is too long, and for a refusal without a reason.
    """
    term = grant.term_days if days is None else days
    if granted and not 1 <= term <= GRANT_DAYS_MAX:
        raise DomainError("A grant lasts 1 to 3,650 days.", where="until", limit=GRANT_DAYS_MAX)
    if not granted:
        _want_reason(answer)
    with transaction.atomic():
        row = _locked(grant, _State.REQUESTED)
        if granted:
            row.expires_at = timezone.now() + timedelta(days=term)
        _close(row, _State.GRANTED if granted else _State.REFUSED, by=actor, answer=answer)
        _tell(row)
        _write_down(row, actor=actor)
    return row


def revoke_grant(*, grant: AccessGrant, actor: User, answer: str) -> AccessGrant:
    """End a grant now. Every door asks the rows again, so nothing else has to be told."""
    _want_reason(answer)
    with transaction.atomic():
        row = _locked(grant, _State.GRANTED)
        _close(row, _State.REVOKED, by=actor, answer=answer)
        _tell(row)
        _write_down(row, actor=actor)
    return row


def withdraw_request(*, grant: AccessGrant, actor: User) -> AccessGrant:
    """The asker takes a request back before it is answered."""
    with transaction.atomic():
        row = _locked(grant, _State.REQUESTED)
        _close(row, _State.WITHDRAWN, by=actor, answer="")
        _write_down(row, actor=actor)
    return row


def _want_reason(answer: str) -> None:
    if not answer.strip():
        raise DomainError("Say why: the person who asked reads it.", where="answer")


def _locked(grant: AccessGrant, state: str) -> AccessGrant:
    row = AccessGrant.objects.select_for_update(of=("self",)).select_related("datanet", "user")
    found = row.get(pk=grant.pk)
    if found.state != state:
        raise AnsweredBefore()
    return found


def _close(grant: AccessGrant, state: str, *, by: User | None, answer: str) -> None:
    grant.state, grant.answer = state, answer
    grant.decided_at, grant.decided_by = timezone.now(), by
    grant.save(update_fields=["state", "answer", "expires_at", "decided_at", "decided_by"])


def _tell(grant: AccessGrant) -> None:
    send_on_commit(MAIL_TASK, queue="mail", grant_id=grant.pk, state=str(grant.state))


def _write_down(grant: AccessGrant, *, actor: User) -> None:
    """An entry of the Datanet's access log: who got or lost what, and until when."""
    data: dict[str, Any] = {"grant": str(grant.public_id), "member": grant.user_id}
    if grant.state == _State.GRANTED and grant.expires_at is not None:
        data["until"] = grant.expires_at.isoformat()
    subject = f"datanet:{grant.datanet.public_id}"
    record_audit(f"grant.{grant.state}", actor=actor, subject=subject, right=grant.right, **data)
