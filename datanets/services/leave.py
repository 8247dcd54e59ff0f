"""What becomes of a person's Datanets, rows and rights when they close their account."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse

from datanets.models import AccessGrant, Contribution, Datanet, Membership, ResumableUpload
from datanets.services.decide_access import revoke_grant, withdraw_request
from datanets.services.receive_upload import discard_upload
from datanets.services.submit_contribution import withdraw_contribution
from openledger_site.accounts.closing import Hint, Part
from openledger_site.accounts.models import User
from openledger_site.core.jobs import Lease, start_job

WITHDRAW_JOB = "datanets.withdraw_rows"


def _obstacles(user: User) -> Iterator[Hint]:
    for datanet in shared_by(user):
        yield Hint(
            f"Hand over {datanet.name}: other people take part in it.",
            reverse("datanets:member-list", args=[datanet.slug]),
        )


def shared_by(user: User) -> QuerySet[Datanet]:
    """The Datanets of this owner in which somebody else has a role or rows."""
    others = Membership.objects.filter(datanet=OuterRef("pk")).exclude(user=user)
    theirs = given_by_somebody().filter(datanet=OuterRef("pk")).exclude(contributor=user)
    owned = Datanet.objects.filter(owner=user)
    return owned.filter(Q(Exists(others)) | Q(Exists(theirs))).order_by("pk")


def given_by_somebody() -> QuerySet[Contribution]:
    return Contribution.objects.exclude(state=Contribution.State.WITHDRAWN)


def _losses(user: User) -> Iterator[Hint]:
    count = given_by_somebody().filter(contributor=user).count()
    if count:
        yield Hint(
            f"What your {count} contribution{'s' if count > 1 else ''} would earn from now on.",
            reverse("datanets:contribution-list"),
        )


def _leave(user: User, withdraw_rows: bool) -> None:
    for upload in ResumableUpload.objects.filter(owner=user):
        discard_upload(upload=upload)
    for grant in AccessGrant.objects.filter(user=user, state__in=AccessGrant.OPEN):
        if grant.state == AccessGrant.State.GRANTED:
            revoke_grant(grant=grant, actor=user, answer="The account was closed.")
        else:
            withdraw_request(grant=grant, actor=user)
    Membership.objects.filter(user=user).exclude(role=Membership.Role.OWNER).delete()
    if withdraw_rows:
        start_job(
            WITHDRAW_JOB, queue="ingest", subject=f"rows of user:{user.pk}",
            payload={"contributor": user.pk},
        )  # fmt: skip


def withdraw_rows(lease: Lease) -> None:
    """One contribution after the other. Safe to run twice."""
    user = User.objects.get(pk=lease.job.payload["contributor"])
    for contribution in given_by_somebody().filter(contributor=user).order_by("pk"):
        lease.check()
        withdraw_contribution(contribution=contribution, actor=user)


LEAVING = Part(_obstacles, _losses, _leave)
