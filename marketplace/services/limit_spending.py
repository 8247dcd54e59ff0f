"""Caps on what answers may cost a person or a key, and the mail when a cap comes near."""

from __future__ import annotations

from datetime import UTC, date, datetime

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from marketplace.models import Inference, SpendingCap
from marketplace.selectors.spending import spent_since
from openledger_site.accounts.models import ApiKey, User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import PaymentRequired
from openledger_site.core.money import format_open
from openledger_site.core.outbox import send_on_commit

ALERT_TASK = "marketplace.mail_spending_alert"


class SpendingCapReached(PaymentRequired):
    code = "spending_cap_reached"


def set_spending_cap(
    *,
    consumer: User,
    api_key: ApiKey | None,
    day_wei: int | None,
    month_wei: int | None,
    alert_percent: int = 80,
) -> SpendingCap:
    """The cap from now on; without a number there is none. Zero stops all spending."""
    with transaction.atomic():
        cap, _ = SpendingCap.objects.update_or_create(
            consumer=consumer,
            api_key=api_key,
            defaults={
                "day_wei": day_wei,
                "month_wei": month_wei,
                "alert_percent": alert_percent,
                "alerted_month": None,
            },
        )
        record_audit(
            "spending_cap.set",
            actor=consumer,
            subject=f"api_key:{api_key.public_id}" if api_key else f"user:{consumer.public_id}",
            day_wei=None if day_wei is None else str(day_wei),
            month_wei=None if month_wei is None else str(month_wei),
        )
    return cap


def check_spending_caps(inference: Inference) -> None:
    """Call in the transaction that has just held and written down this answer. Raises
    `SpendingCapReached` (402), which rolls both back.

    The hold locks the person's account until that transaction ends, so that two questions at once
    cannot both fit under a cap that has room for one. Day and month are those that it counts for.
    """
    day = day_of(inference)
    concerned = Q(api_key__isnull=True)
    if inference.api_key_id is not None:
        concerned |= Q(api_key=inference.api_key_id)
    for cap in SpendingCap.objects.filter(concerned, consumer=inference.consumer_id).order_by("pk"):
        for limit, since, name in (
            (cap.day_wei, day, "day"),
            (cap.month_wei, day.replace(day=1), "month"),
        ):
            if limit is not None:
                _check(cap, limit, since, name)


def day_of(inference: Inference) -> datetime:
    """When the day (UTC) of an answer began, by the clock that dates it: the web process's own may
    be in another day already, and the answer would count in neither.
    """
    return inference.created_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _check(cap: SpendingCap, limit_wei: int, since: datetime, name: str) -> None:
    spent = spent_since(cap.consumer, since, cap.api_key)
    if spent > limit_wei:
        whose = f"of the key “{cap.api_key.name}”" if cap.api_key else "you set yourself"
        raise SpendingCapReached(
            f"This could exceed the cap {whose}: {format_open(limit_wei)} OPEN a {name}."
            " Raise it under Spending, or ask again when the next one begins.",
            where=name,
            limit=limit_wei,
        )
    if name == "month" and spent * 100 >= limit_wei * cap.alert_percent:
        _alert_once(cap, since.date())


def _alert_once(cap: SpendingCap, month: date) -> None:
    fresh = SpendingCap.objects.filter(pk=cap.pk).filter(
        Q(alerted_month__isnull=True) | Q(alerted_month__lt=month)
    )
    if fresh.update(alerted_month=month):
        send_on_commit(ALERT_TASK, queue="mail", cap_id=cap.pk)


def mail_spending_alert(cap_id: int) -> int:
    """Tell a person that a cap is near; returns the number of messages."""
    cap = SpendingCap.objects.select_related("consumer", "api_key").filter(pk=cap_id).first()
    if cap is None or cap.month_wei is None or not cap.consumer.email:
        return 0
    whose = f"The key “{cap.api_key.name}” has" if cap.api_key else "You have"
    body = (
        f"{whose} used {cap.alert_percent} % of the month's cap of"
        f" {format_open(cap.month_wei)} OPEN, counting answers under way.\n\n"
        f"See what was spent, and change the cap: {settings.SITE_URL}"
        f"{reverse('marketplace:spending')}\n"
    )
    return EmailMessage("Your spending cap is near", body, to=[cap.consumer.email]).send()
