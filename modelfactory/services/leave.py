"""What becomes of a person's runs and models when they close their account."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import QuerySet
from django.urls import reverse

from modelfactory.models import Model, Run
from openledger_site.accounts.closing import Hint, Part
from openledger_site.accounts.models import User
from openledger_site.core.models import Job


def _obstacles(user: User) -> Iterator[Hint]:
    going = Run.objects.filter(builder=user, settled_at=None, job__state__in=Job.UNFINISHED)
    if going.exists():
        yield Hint("Stop your training runs, or wait for them.", reverse("modelfactory:list"))


def _losses(user: User) -> Iterator[Hint]:
    names = list(_offered_by(user).values_list("name", flat=True)[:5])
    if names:
        yield Hint(
            f"Your public models: nobody can ask them any more, nor agents made of them"
            f" ({', '.join(names)}{', …' if len(names) == 5 else ''}).",
            reverse("modelfactory:list"),
        )


def _leave(user: User, withdraw_rows: bool) -> None:
    _offered_by(user).update(visibility=Model.Visibility.PRIVATE)


def _offered_by(user: User) -> QuerySet[Model]:
    return Model.objects.filter(owner=user, visibility=Model.Visibility.PUBLIC).order_by("pk")


LEAVING = Part(_obstacles, _losses, _leave)
