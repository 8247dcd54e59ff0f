"""What becomes of a person's answers and agents when they close their account."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import QuerySet
from django.urls import reverse

from marketplace.models import Agent, Inference
from marketplace.services.erase_answers import erasable_by, start_erasing
from marketplace.services.make_agent import retire_agent
from openledger_site.accounts.closing import Hint, Part
from openledger_site.accounts.models import User


def _obstacles(user: User) -> Iterator[Hint]:
    if Inference.objects.filter(consumer=user).exclude(state__in=Inference.ENDED).exists():
        yield Hint(
            "An answer of yours has no receipt yet. Wait a moment.", reverse("marketplace:answers")
        )


def _losses(user: User) -> Iterator[Hint]:
    if erasable_by(user).exists():
        yield Hint(
            "All your questions and answers: they are erased. Download the receipts that you want"
            " to keep.",
            reverse("marketplace:answers"),
        )
    count = _working(user).count()
    if count:
        yield Hint(
            f"Your {count} agent{'s' if count > 1 else ''}: nobody can ask them any more.",
            reverse("marketplace:agents"),
        )


def _leave(user: User, withdraw_rows: bool) -> None:
    for agent in _working(user):
        retire_agent(agent=agent)
    start_erasing(consumer=user)


def _working(user: User) -> QuerySet[Agent]:
    return Agent.objects.filter(owner=user, retired_at__isnull=True).order_by("pk")


LEAVING = Part(_obstacles, _losses, _leave)
