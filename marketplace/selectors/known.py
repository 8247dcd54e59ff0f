"""What the market keeps about one person."""

from __future__ import annotations

from collections.abc import Iterator

from marketplace.models import Agent, AgentVersion, Dispute, Inference, SpendingCap
from openledger_site.accounts.known import Row, columns
from openledger_site.accounts.models import User


def known_about(user: User) -> Iterator[Row]:
    yield from columns(
        "question and answer", Inference.objects.filter(consumer=user),
        "public_id", "model__slug", "messages", "answer", "passages", "state", "fee_wei",
        "created_at", "erased_at",
    )  # fmt: skip
    yield from columns(
        "agent", Agent.objects.filter(owner=user),
        "slug", "name", "summary", "opening", "visibility", "created_at", "retired_at",
    )  # fmt: skip
    yield from columns(
        "version of an agent", AgentVersion.objects.filter(agent__owner=user),
        "agent__slug", "number", "instructions", "rows", "max_tokens", "maker_ppm",
    )  # fmt: skip
    yield from columns(
        "dispute", Dispute.objects.filter(raised_by=user),
        "public_id", "records", "reason", "state", "created_at",
    )  # fmt: skip
    yield from columns(
        "spending cap", SpendingCap.objects.filter(consumer=user), "day_wei", "month_wei"
    )
