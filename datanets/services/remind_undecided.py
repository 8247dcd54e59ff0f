"""Mail the contributors of what will soon be deleted because nobody decided about it."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from datanets.models import Contribution
from openledger_site.core.outbox import send_on_commit

MAIL_TASK = "datanets.mail_about_undecided"
DAYS_BEFORE = 7
AT_ONCE_MAX = 1_000


def remind_undecided() -> int:
    """Queue one mail for each that is due, `DAYS_BEFORE` days ahead (half-way for short terms)."""
    with transaction.atomic():
        due = _due().select_for_update(of=("self",), skip_locked=True)
        keys = list(due.values_list("pk", flat=True)[:AT_ONCE_MAX])
        Contribution.objects.filter(pk__in=keys).update(reminded_at=timezone.now())
        for key in keys:
            send_on_commit(MAIL_TASK, queue="mail", contribution_id=key)
    return len(keys)


def _due() -> QuerySet[Contribution]:
    """Not reminded since it began to wait: a second wait is another one."""
    term = settings.CONTRIBUTION_UNDECIDED_DAYS
    waited = timezone.now() - timedelta(days=max(term - DAYS_BEFORE, term / 2))
    return Contribution.objects.filter(
        Q(reminded_at__isnull=True) | Q(reminded_at__lt=F("undecided_since")),
        undecided_since__lte=waited,
    )


def mail_about_undecided(contribution_id: int) -> int:
    """Send the reminder; returns the number of messages. Nothing if it was decided meanwhile.

    The message names the Datanet and the day and holds nothing of the file, its name included.
    """
    rows = Contribution.objects.select_related("datanet", "contributor")
    contribution = rows.filter(pk=contribution_id, undecided_since__isnull=False).first()
    if contribution is None or contribution.expires_at is None:
        return 0
    email = contribution.contributor.email
    if not email or not contribution.contributor.is_active:
        return 0
    where = settings.SITE_URL + contribution.get_absolute_url()
    day = f"{contribution.expires_at:%d %B %Y}"
    body = (
        f"Your contribution to {contribution.datanet.name} of {contribution.created_at:%d %B %Y}"
        " waits for your decision, and nobody else sees it until then.\n\n"
        f"Without it the contribution and its file are deleted on {day}.\n\nDecide here: {where}\n"
    )
    subject = f"Your contribution to {contribution.datanet.name} is deleted on {day}"
    return EmailMessage(subject, body, to=[email]).send()
