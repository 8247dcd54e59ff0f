"""Who sees what. Every object is reached through here; a stranger gets 404, never 403.

public: everybody reads rows and trains on them · restricted: everybody sees the card, rows need a
membership or a grant · private: only members and grantees know that it exists. A contributor always
sees their own rows, whatever became of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import (
    Count,
    Exists,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Coalesce, Now
from django.http import Http404

from datanets.models import (
    AccessGrant,
    Contribution,
    Datanet,
    Membership,
    Record,
    Review,
    Version,
    VersionRecord,
)
from datanets.selectors.counts import COUNTED_MAX
from datanets.selectors.stakes import staked_by

PUBLIC, PRIVATE = Datanet.Visibility.PUBLIC, Datanet.Visibility.PRIVATE


@dataclass(frozen=True, slots=True)
class Rights:
    """What one person may do in one Datanet."""

    role: str
    read: bool
    train: bool
    review: bool
    curate: bool
    own: bool
    contribute: bool


def _member(user: Any, roles: Iterable[str] | None = None, outer: str = "pk") -> Exists:
    rows = Membership.objects.filter(datanet=OuterRef(outer), user=user.pk)
    return Exists(rows.filter(role__in=list(roles)) if roles is not None else rows)


def _granted(user: Any, rights: Iterable[str], outer: str = "pk") -> Exists:
    term = Q(expires_at__isnull=True) | Q(expires_at__gt=Now())
    return Exists(
        AccessGrant.objects.filter(
            term,
            datanet=OuterRef(outer),
            user=user.pk,
            right__in=list(rights),
            state=AccessGrant.State.GRANTED,
        )
    )


def visible_to(user: Any) -> QuerySet[Datanet]:
    """Datanets whose card this person may see."""
    return Datanet.objects.filter(
        ~Q(visibility=PRIVATE) | _member(user) | _granted(user, ("read", "train"))
    )


def stake_subjects(user: Any, ids: Collection[UUID]) -> dict[UUID, tuple[str, str, int]]:
    """Name, page and owner of the Datanets that this person may see and stake on."""
    seen = visible_to(user).filter(public_id__in=ids)
    return {row.public_id: (row.name, row.get_absolute_url(), row.owner_id) for row in seen}


def contribution_subjects(user: Any, ids: Collection[UUID]) -> dict[UUID, tuple[str, str, int]]:
    """Name, page and owner of the contributions that this person may see and stake on.

    Who sent it, who reviews it, and whoever may read the Datanet once a row of it was approved;
    withdrawing takes it out of nobody's sight who saw rows of it in a version. Readers get the
    page of the Datanet: the contribution's own is for the first two. Its title, too, is theirs.
    """
    rows = rows_of_contribution()
    in_version = VersionRecord.objects.filter(record__contribution=OuterRef("pk"))
    published = Exists(rows.filter(state=Record.State.APPROVED)) | Exists(in_version)
    seen = (
        Contribution.objects.filter(_sent(), public_id__in=ids)
        .annotate(is_open=_member(user, Membership.REVIEWING, "datanet"), is_published=published)
        .filter(
            Q(contributor=user.pk)
            | Q(is_open=True)
            | Q(datanet__in=readable_by(user), is_published=True)
        )
        .select_related("datanet")
    )
    return {
        row.public_id: _subject_of(row, row.is_open or row.contributor_id == user.pk)
        for row in seen
    }


def _subject_of(contribution: Contribution, is_open: bool) -> tuple[str, str, int]:
    datanet = contribution.datanet
    title = f"Rows of {contribution.created_at:%-d %b %Y} in {datanet.name}"
    page = contribution.get_absolute_url() if is_open else datanet.get_absolute_url()
    return title, page, contribution.contributor_id


def readable_by(user: Any) -> QuerySet[Datanet]:
    """Datanets whose approved rows this person may read."""
    return Datanet.objects.filter(
        Q(visibility=PUBLIC) | _member(user, Membership.READING) | _granted(user, ("read",))
    )


def trainable_by(user: Any) -> QuerySet[Datanet]:
    """Datanets this person may train on; to read is to train, not the other way round."""
    return Datanet.objects.filter(
        Q(visibility=PUBLIC)
        | _member(user, Membership.TRAINING)
        | _granted(user, ("read", "train"))
    )


def reviewable_by(user: Any) -> QuerySet[Datanet]:
    return Datanet.objects.filter(_member(user, Membership.REVIEWING))


def curatable_by(user: Any) -> QuerySet[Datanet]:
    """Datanets in which this person cuts versions and decides on access."""
    return Datanet.objects.filter(_member(user, Membership.CURATING))


def first_or_404(rows: QuerySet[Any], what: str) -> Any:
    found = rows.first()
    if found is None:
        raise Http404(f"No such {what}.")
    return found


def datanet_list(user: Any, search: str = "") -> QuerySet[Datanet]:
    """`counted_rows` are the accepted rows, no more than one above `COUNTED_MAX`: then those of the
    newest version, `newest_rows`, say about how many there are.
    """
    rows = visible_to(user).select_related("owner")
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(description__icontains=search))
    accepted = Record.objects.filter(datanet=OuterRef("pk"), state=Record.State.APPROVED)
    versions = Version.objects.filter(datanet=OuterRef("pk"))
    newest = versions.order_by("-number").values("record_count")
    return rows.annotate(
        counted_rows=_no_more_than(COUNTED_MAX + 1, accepted),
        newest_rows=Coalesce(Subquery(newest[:1]), 0),
        version_count=_how_many(versions),
    ).order_by("-created_at", "-id")


def _no_more_than(limit: int, rows: QuerySet[Any]) -> Func:
    """Their number, or `limit`: a million rows are not counted for a line of a page."""
    some = ArraySubquery(rows.order_by().values("pk")[:limit])
    return Func(some, function="cardinality", output_field=IntegerField())


def _how_many(rows: QuerySet[Any]) -> Coalesce:
    """A count for each row of the page alone; joined, it would be worked out for every Datanet."""
    counted = rows.order_by().values("datanet").annotate(rows=Count("pk")).values("rows")
    return Coalesce(Subquery(counted), 0)


def datanet_for(user: Any, slug: str) -> Datanet:
    found: Datanet = first_or_404(
        visible_to(user).select_related("owner").filter(slug=slug), "Datanet"
    )
    return found


def datanet_for_reviewer(user: Any, slug: str) -> Datanet:
    found: Datanet = first_or_404(reviewable_by(user).filter(slug=slug), "Datanet")
    return found


def datanet_for_curator(user: Any, slug: str) -> Datanet:
    found: Datanet = first_or_404(curatable_by(user).filter(slug=slug), "Datanet")
    return found


def datanet_for_owner(user: Any, slug: str) -> Datanet:
    found: Datanet = first_or_404(Datanet.objects.filter(slug=slug, owner=user.pk), "Datanet")
    return found


def rights_of(user: Any, datanet: Datanet) -> Rights:
    """One query: role and grants together."""
    row = (
        Datanet.objects.filter(pk=datanet.pk)
        .annotate(
            reads=_granted(user, ("read",)),
            trains=_granted(user, ("read", "train")),
            kept=Exists(keepers().filter(datanet=OuterRef("pk"))),
        )
        .values_list("reads", "trains", "kept")
        .get()
    )
    role = (
        Membership.objects.filter(datanet=datanet, user=user.pk)
        .values_list("role", flat=True)
        .first()
        or ""
    )
    public = datanet.visibility == PUBLIC
    return Rights(
        role=role,
        read=public or role in Membership.READING or row[0],
        train=public or role in Membership.TRAINING or row[1],
        review=role in Membership.REVIEWING,
        curate=role in Membership.CURATING,
        own=role == Membership.Role.OWNER,
        contribute=user.is_authenticated
        and (datanet.visibility != PRIVATE or bool(role))
        and row[2],
    )


def keepers() -> QuerySet[Membership]:
    """Those who are there to review rows and cut versions, of all Datanets."""
    return Membership.objects.filter(role__in=Membership.CURATING, user__is_active=True)


def records_visible_to(user: Any) -> QuerySet[Record]:
    """Own rows; every row of a Datanet one reviews; approved rows of a Datanet one reads."""
    return Record.objects.filter(
        Q(contribution__contributor=user.pk)
        | Q(datanet__in=reviewable_by(user))
        | Q(state=Record.State.APPROVED, datanet__in=readable_by(user))
    )


def record_for(user: Any, public_id: Any) -> Record:
    rows = records_visible_to(user).select_related(
        "datanet", "contribution__contributor", "duplicate_of"
    )
    found: Record = first_or_404(rows.filter(public_id=public_id), "record")
    return found


def record_for_reviewer(user: Any, public_id: Any) -> Record:
    rows = Record.objects.filter(public_id=public_id, datanet__in=reviewable_by(user))
    found: Record = first_or_404(rows.select_related("datanet", "contribution"), "record")
    return found


def record_for_curator(user: Any, public_id: Any) -> Record:
    rows = Record.objects.filter(public_id=public_id, datanet__in=curatable_by(user))
    found: Record = first_or_404(rows.select_related("datanet", "contribution"), "record")
    return found


def record_for_contributor(user: Any, public_id: Any) -> Record:
    rows = Record.objects.filter(public_id=public_id, contribution__contributor=user.pk)
    found: Record = first_or_404(rows.select_related("datanet"), "record")
    return found


def contributions_of(user: Any) -> QuerySet[Contribution]:
    pending = Count("records", filter=Q(records__state=Record.State.PENDING))
    approved = Count("records", filter=Q(records__state=Record.State.APPROVED))
    return (
        Contribution.objects.filter(contributor=user.pk)
        .defer(*Contribution.SEALED)
        .select_related("datanet", "job")
        .annotate(pending_count=pending, approved_count=approved)
        .order_by("-created_at", "-id")  # counting drops the model's own order
    )


def rows_of_contribution() -> QuerySet[Record]:
    """Inside a query of contributions: the rows of each, be they withdrawn."""
    return Record.objects.filter(contribution=OuterRef("pk"))


def _sent() -> Q:
    """What others than its contributor may know of: what was withdrawn before has no rows."""
    never_sent = Q(~Exists(rows_of_contribution()), state=Contribution.State.WITHDRAWN)
    return ~Q(state__in=Contribution.UNSENT) & ~never_sent


def contribution_for(user: Any, public_id: Any) -> Contribution:
    """Seen by who sent it; by the Datanet's reviewers once it is sent."""
    rows = Contribution.objects.filter(
        Q(contributor=user.pk) | (Q(datanet__in=reviewable_by(user)) & _sent()),
        public_id=public_id,
    ).select_related("datanet", "contributor", "job")
    found: Contribution = first_or_404(rows, "contribution")
    return found


def contribution_for_contributor(user: Any, public_id: Any) -> Contribution:
    """With what is sealed left for who asks for it: withdrawing needs none of it, nor a key."""
    rows = Contribution.objects.filter(contributor=user.pk, public_id=public_id)
    rows = rows.defer(*Contribution.SEALED)
    found: Contribution = first_or_404(rows.select_related("datanet"), "contribution")
    return found


SEALED_ROWS_READ = 5_000
"""Rows of a private Datanet that one search opens: neither index nor condition sees their text."""


def review_queue(
    user: Any,
    datanet: Datanet,
    *,
    flag: str = "",
    contribution: Any = None,
    search: str = "",
) -> QuerySet[Record]:
    """Pending rows that this reviewer may vote on: never their own, none twice, and those left to
    the curators only as one. The flag `curator` is theirs: rows that nobody else may decide."""
    rows = waiting_for(user, datanet)
    if flag == "curator":
        rows = rows.filter(escalated=True)
    elif flag == "none":
        rows = rows.filter(flags=[])
    elif flag:
        rows = rows.filter(flags__contains=[flag])
    if contribution:
        rows = rows.filter(contribution__public_id=contribution)
    if search:
        rows = rows.filter(_holding(rows, datanet, search))
    return rows.select_related("contribution__contributor").order_by("id")


def _holding(rows: QuerySet[Record], datanet: Datanet, search: str) -> Q:
    """Question or answer holds this text. Sealed ones are opened for it, the oldest so many."""
    if datanet.visibility != Datanet.Visibility.PRIVATE:
        return Q(instruction__icontains=search) | Q(response__icontains=search)
    oldest = rows.order_by("id").values_list("pk", "instruction", "response")[:SEALED_ROWS_READ]
    sought = search.lower()
    return Q(pk__in=[pk for pk, *texts in oldest if any(sought in one.lower() for one in texts)])


def waiting_for(user: Any, datanet: Datanet) -> QuerySet[Record]:
    """Pending rows of a Datanet that wait for a vote of this reviewer: none of their own, none
    behind which they have stake."""
    rows = Record.objects.filter(datanet=datanet, state=Record.State.PENDING).exclude(
        contribution__contributor=user.pk
    )
    rows = rows.exclude(contribution__in=staked_by(user, datanet))
    rows = rows.filter(Q(escalated=False) | _member(user, Membership.CURATING, "datanet"))
    if datanet.votes_per_row == 1:
        return rows
    mine = Review.objects.filter(record=OuterRef("pk"), reviewer=user.pk).order_by("-id")
    open_to_me = Q(escalated=True) | Q(last_vote=None) | Q(last_vote=Review.Verdict.UNDO)
    return rows.annotate(last_vote=Subquery(mine.values("verdict")[:1])).filter(open_to_me)


def last_batch_of(user: Any, datanet: Datanet) -> Review | None:
    """The reviewer's newest decision here, when it can still be undone."""
    held = VersionRecord.objects.filter(record=OuterRef("record"))
    mine = Review.objects.filter(reviewer=user.pk, record__datanet=datanet)
    last = mine.annotate(is_frozen=Exists(held)).order_by("-id").first()
    if last is None or last.is_frozen or last.verdict == Review.Verdict.UNDO:
        return None
    return last


def version_for(user: Any, public_id: Any) -> Version:
    rows = Version.objects.filter(datanet__in=visible_to(user), public_id=public_id)
    found: Version = first_or_404(
        rows.select_related("datanet__owner", "created_by", "anchor"), "version"
    )
    return found


def _anchored(user: Any) -> QuerySet[Version]:
    """As `version_for`: whoever sees a Datanet sees which versions it has."""
    return Version.objects.filter(datanet__in=visible_to(user), anchor__isnull=False)


def visible_anchor_ids(user: Any) -> QuerySet[Version, Any]:
    return _anchored(user).values("anchor_id")


def describe_anchors(user: Any, ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """Name and page of the versions behind anchors, of those that this person may see."""
    rows = _anchored(user).filter(anchor_id__in=ids).select_related("datanet")
    return {
        row.anchor_id: (f"{row.datanet.name}, version {row.number}", row.get_absolute_url())
        for row in rows
        if row.anchor_id is not None
    }


def entry_for(user: Any, version: Version, record_id: Any) -> VersionRecord:
    """A row's place in a version, for somebody who may see the row."""
    rows = VersionRecord.objects.filter(
        version=version, record__in=records_visible_to(user), record__public_id=record_id
    ).select_related("record__contribution__contributor")
    found: VersionRecord = first_or_404(rows, "record in this version")
    return found
