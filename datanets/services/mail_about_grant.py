"""Tell people by mail that somebody asked for access, or what became of their request."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import EmailMessage
from django.urls import reverse

from datanets.models import AccessGrant, Membership

SUBJECTS = {
    "requested": "Somebody asks for access to {name}",
    "granted": "You have access to {name}",
    "refused": "Your request for {name} was refused",
    "revoked": "Your access to {name} has ended",
}


def mail_about_grant(grant_id: int, state: str) -> int:
    """Send what `state` calls for; returns the number of messages. Nothing if it moved on since.

    A message never holds a row, and the purpose goes to those who decide only.
    """
    rows = AccessGrant.objects.select_related("datanet", "user")
    grant = rows.filter(pk=grant_id, state=state).first()
    if grant is None or state not in SUBJECTS:
        return 0
    asked = state == AccessGrant.State.REQUESTED
    people = _deciders(grant) if asked else [grant.user.email]
    subject = SUBJECTS[state].format(name=grant.datanet.name)
    body = _question(grant) if asked else _answer(grant)
    messages = [EmailMessage(subject, body, to=[email]) for email in people if email]
    return sum(message.send() for message in messages)


def _deciders(grant: AccessGrant) -> list[str | None]:
    rows = grant.datanet.memberships.filter(
        role__in=list(Membership.CURATING), user__is_active=True
    )
    return list(rows.values_list("user__email", flat=True))


def _question(grant: AccessGrant) -> str:
    where = settings.SITE_URL + reverse("datanets:request-list", args=[grant.datanet.slug])
    return (
        f"{grant.user.name} asks: {grant.get_right_display()}, for {grant.term_days} days.\n\n"
        f"{grant.purpose}\n\nAnswer under “Access requests” of the Datanet: {where}\n"
    )


def _answer(grant: AccessGrant) -> str:
    where = settings.SITE_URL + reverse("datanets:access-request", args=[grant.datanet.slug])
    lines = [f"{grant.get_right_display()}: {grant.state}."]
    if grant.state == AccessGrant.State.GRANTED and grant.expires_at is not None:
        lines.append(f"It ends on {grant.expires_at:%d %B %Y at %H:%M} UTC.")
    if grant.answer:
        lines.append(f"The reason given: {grant.answer}")
    return "\n".join([*lines, "", f"Your requests: {where}", ""])
