"""Who was given what, and who opened rows: for the owner, and for contributors what concerns them.

The entries are those of the audit log, which nobody can change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, Min, Q, QuerySet

from datanets.models import Contribution, Datanet, Membership, VersionRecord
from datanets.selectors.access import first_or_404, rows_of_contribution
from openledger_site.accounts.models import User
from openledger_site.core.models import AuditEntry

_WORDS = {
    "rows.opened": "opened rows",
    "rows.trained": "began to train on the rows",
    "grant.requested": "asked for access",
    "grant.withdrawn": "withdrew a request",
    "grant.granted": "granted access to",
    "grant.refused": "refused access to",
    "grant.revoked": "revoked the access of",
    "datanet.set_member": "made a member of",
    "datanet.remove_member": "removed",
    "datanet.transfer": "handed the Datanet over to",
}
_OF_CONTRIBUTORS = ("rows.opened", "rows.trained", "grant.granted", "grant.revoked",
                    "datanet.set_member", "datanet.remove_member",
                    "datanet.transfer")  # fmt: skip
_ABOUT_ONESELF = ("rows.opened", "rows.trained", "grant.requested", "grant.withdrawn")
_RIGHTS = {"read": "read", "train": "train without reading"}


@dataclass(frozen=True)
class LogLine:
    """One entry in words: `who` did `what`, to `whom` where there is somebody, with a `detail`."""

    at: datetime
    who: str
    what: str
    whom: str
    detail: str


def datanet_for_log(user: Any, slug: str) -> Datanet:
    """For its owner, and for everybody who gave rows to it, a member or not."""
    gave = _given_by(user).values("datanet")
    found: Datanet = first_or_404(
        Datanet.objects.filter(Q(owner=user.pk) | Q(pk__in=gave), slug=slug), "Datanet"
    )
    return found


def _given_by(user: Any) -> QuerySet[Contribution]:
    """What holds rows, be they withdrawn: a draft of theirs has given nothing yet."""
    return Contribution.objects.filter(Exists(rows_of_contribution()), contributor=user.pk)


def access_log(user: Any, datanet: Datanet) -> QuerySet[AuditEntry]:
    """The newest first. A contributor sees who could read or read since they gave the first row,
    and who trained on a version that holds a row of theirs.
    """
    entries = AuditEntry.objects.filter(
        subject=f"datanet:{datanet.public_id}", action__in=list(_WORDS)
    ).order_by("-number")
    if datanet.owner_id == user.pk:
        return entries
    since = _given_by(user).filter(datanet=datanet).aggregate(at=Min("created_at"))["at"]
    reading = [str(role) for role in Membership.TRAINING]
    about_rows = ~Q(action="datanet.set_member") | Q(data__role__in=reading)
    own = VersionRecord.objects.filter(
        version__datanet=datanet, record__contribution__contributor=user.pk
    )
    numbers = list(own.order_by().values_list("version__number", flat=True).distinct())
    about_rows &= ~Q(action="rows.trained") | Q(data__version__in=numbers)
    return entries.filter(about_rows, action__in=_OF_CONTRIBUTORS, at__gte=since.isoformat())


def log_lines(entries: Iterable[AuditEntry]) -> list[LogLine]:
    """Entries in words; the people in one query."""
    rows = list(entries)
    keys = {_person_key(entry.actor) for entry in rows} | {e.data.get("member") for e in rows}
    people = User.objects.in_bulk([key for key in keys if key])
    return [_line(entry, people) for entry in rows]


def _person_key(actor: str) -> int | None:
    kind, _, key = actor.partition(":")
    return int(key) if kind == "user" and key.isdecimal() else None


def _line(entry: AuditEntry, people: dict[int, User]) -> LogLine:
    actor = people.get(_person_key(entry.actor) or 0)
    member = people.get(entry.data.get("member") or 0)
    alone = entry.action in _ABOUT_ONESELF
    return LogLine(
        at=datetime.fromisoformat(entry.at),
        who=actor.name if actor else "somebody who left",
        what=_WORDS[entry.action],
        whom="" if alone else (member.name if member else "somebody who left"),
        detail=_detail(entry.data),
    )


def _detail(data: dict[str, Any]) -> str:
    parts = [_RIGHTS.get(str(data.get("right")), ""), str(data.get("role", ""))]
    if "version" in data:
        parts.append(f"version {data['version']}, {data['rows']:,} rows")
    if "until" in data:
        parts.append(f"until {datetime.fromisoformat(data['until']):%d %b %Y}")
    return ", ".join(part for part in parts if part)
