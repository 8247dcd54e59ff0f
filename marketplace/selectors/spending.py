"""What a person spends on answers: by month, day, model and key, and how much a cap leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import Coalesce, TruncDay
from django.utils import timezone

from marketplace.models import Inference, SpendingCap
from openledger_site.accounts.models import ApiKey, User
from openledger_site.core.money import WeiField

State = Inference.State
SPENT = Coalesce(
    Sum(
        Case(
            When(hold__settlement__refund__isnull=False, then=0),
            When(state=State.ANSWERING, then=F("hold__amount_wei")),
            When(state__in=[State.ANSWERED, State.SETTLED], then=F("fee_wei")),
            default=0,
            output_field=WeiField(),
        )
    ),
    0,
    output_field=WeiField(),
)
"""Fees that were not refunded, and for what is still being answered the most that it can cost."""


KNOWN_YEARS = range(2020, 2100)


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month in UTC."""

    first: date

    @classmethod
    def named(cls, text: str) -> Month:
        """`2026-11`; anything else is the present month."""
        try:
            first = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
        except ValueError:
            first = date.min
        if first.year not in KNOWN_YEARS:
            first = timezone.now().date().replace(day=1)
        return cls(first)

    @property
    def name(self) -> str:
        return f"{self.first:%Y-%m}"

    @property
    def start(self) -> datetime:
        return datetime(self.first.year, self.first.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return (self.start + timedelta(days=32)).replace(day=1)

    @property
    def earlier(self) -> Month:
        return Month((self.start - timedelta(days=1)).date().replace(day=1))

    @property
    def later(self) -> Month | None:
        """None for the present month."""
        return Month(self.end.date()) if self.end <= timezone.now() else None


def answers_in(user: Any, month: Month) -> QuerySet[Inference]:
    """What somebody asked in a month and was not refused."""
    return Inference.objects.filter(
        consumer_id=user.pk, created_at__gte=month.start, created_at__lt=month.end
    ).exclude(state=State.FAILED)


def spent_since(user: User, since: datetime, api_key: ApiKey | None = None) -> int:
    """Wei, of everything or of what one key asked."""
    rows = Inference.objects.filter(consumer=user, created_at__gte=since)
    if api_key is not None:
        rows = rows.filter(api_key=api_key)
    return int(rows.aggregate(wei=SPENT)["wei"])


def spending_of(user: Any, month: Month) -> dict[str, Any]:
    """Totals and tables of a month; each a query."""
    rows = answers_in(user, month)
    totals = rows.aggregate(
        answers=Count("pk"),
        tokens=Coalesce(Sum(F("prompt_tokens") + F("completion_tokens")), 0),
        wei=SPENT,
        pending=Count("pk", filter=Q(state=State.ANSWERING)),
    )
    grouped = rows.order_by()
    return {
        "totals": totals,
        "by_model": list(
            grouped.values("model__name", "model__slug")
            .annotate(answers=Count("pk"), wei=SPENT)
            .order_by("-wei", "model__name")
        ),
        "by_key": list(
            grouped.values("api_key__name", "api_key__prefix", "channel")
            .annotate(answers=Count("pk"), wei=SPENT)
            .order_by("-wei", "api_key__name")
        ),
        "by_day": [
            (row["day"].day, int(row["wei"]))
            for row in grouped.annotate(day=TruncDay("created_at", tzinfo=UTC))
            .values("day")
            .annotate(wei=SPENT)
            .order_by("day")
        ],
    }


INVOICE_HEAD = (
    "answer", "asked_at", "model", "channel", "api_key", "prompt_tokens", "completion_tokens",
    "state", "fee_wei", "receipt_sha256", "refunded_wei",
)  # fmt: skip


def invoice_rows(user: Any, month: Month) -> Iterator[tuple[str, ...]]:
    """The month as a table, one line an answer, oldest first; never a question or an answer."""
    yield INVOICE_HEAD
    related = ("model", "agent_version__agent", "api_key", "receipt", "hold__settlement")
    rows = answers_in(user, month).select_related(*related).order_by("pk")
    for row in rows.iterator(chunk_size=2_000):
        yield (
            str(row.public_id),
            row.created_at.isoformat(),
            row.asked_name,
            row.channel,
            row.api_key.name if row.api_key else "",
            str(row.prompt_tokens),
            str(row.completion_tokens),
            row.state,
            str(row.fee_wei),
            row.receipt.digest if hasattr(row, "receipt") else "",
            str(row.fee_wei if _is_refunded(row) else 0),
        )


def _is_refunded(inference: Inference) -> bool:
    settlement = getattr(inference.hold, "settlement", None)
    return settlement is not None and settlement.refund_id is not None


def caps_of(user: Any) -> tuple[SpendingCap | None, list[ApiKey]]:
    """The person's own cap, and their working keys, each with its cap where it has one."""
    own = SpendingCap.objects.filter(consumer=user.pk, api_key__isnull=True).first()
    keys = ApiKey.objects.filter(user=user.pk, revoked_at__isnull=True)
    return own, list(keys.select_related("spending_cap").order_by("-created_at"))
