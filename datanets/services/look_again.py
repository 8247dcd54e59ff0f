"""Approved rows that somebody has a reason to doubt: asked about, then kept or taken out."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from datanets.models import Datanet, Record, Review, SecondLook
from datanets.selectors.stakes import staked_by
from datanets.services.errors import AlreadyDecided, OwnRows, OwnStake, TooManyRows
from datanets.services.summarise_version import take_out_of_summaries
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import DomainError
from openledger_site.core.row_security import all_rows

OPEN_BY_ONE_PERSON_MAX = 50


@all_rows("a doubt is written beside rows that whoever doubts need not see")
def ask_to_look_again(
    *, record_ids: Iterable[Any], source: str, note: str, opened_by: User | None
) -> int:
    """Put approved rows before their curators; returns how many were not there for this reason.

    The caller has checked that `opened_by` may see the rows. Raises `DomainError` without a note
    and `TooManyRows` (429) when one person has too many open.
    """
    if not note.strip():
        raise DomainError("Say what is wrong with the row.", where="note")
    rows = Record.objects.filter(public_id__in=list(record_ids), state=Record.State.APPROVED)
    wanted = list(rows.values_list("pk", flat=True))
    with transaction.atomic():
        before = SecondLook.objects.filter(opened_by=opened_by, source=source, outcome="")
        if opened_by is not None and before.count() + len(wanted) > OPEN_BY_ONE_PERSON_MAX:
            raise TooManyRows(
                f"You have {before.count()} rows with the curators; {OPEN_BY_ONE_PERSON_MAX} at a"
                " time are taken. Wait for their answer.",
                limit=OPEN_BY_ONE_PERSON_MAX,
            )
        known = set(before.filter(record__in=wanted).values_list("record_id", flat=True))
        looks = [
            SecondLook(record_id=pk, source=source, note=note.strip()[:300], opened_by=opened_by)
            for pk in wanted
            if pk not in known
        ]
        SecondLook.objects.bulk_create(looks, ignore_conflicts=True)
    return len(looks)


def decide_second_look(
    *, look: SecondLook, curator: User, keep: bool, reason: str = ""
) -> SecondLook:
    """Keep the row, or take it out of every version cut from now on; ends all looks at the row.

    Versions that hold the row stay as they are. Raises `OwnRows` and `OwnStake` (403),
    `AlreadyDecided` (409) and `DomainError` (taken out without a reason).
    """
    if not keep and reason not in Review.Reason:
        raise DomainError("Say why: choose a reason from the list.", where="reason")
    with transaction.atomic():
        datanet = Datanet.objects.filter(records=look.record_id)
        datanet.select_for_update(of=("self",), no_key=True).get()  # as whoever cuts
        record = Record.objects.select_for_update(of=("self",)).get(pk=look.record_id)
        open_looks = SecondLook.objects.filter(record=record, outcome="")
        if record.state != Record.State.APPROVED or not open_looks.filter(pk=look.pk).exists():
            raise AlreadyDecided
        if record.contribution.contributor_id == curator.pk:
            raise OwnRows
        if record.contribution_id in staked_by(curator, record.datanet):
            raise OwnStake
        outcome = SecondLook.Outcome.KEPT if keep else SecondLook.Outcome.TAKEN_OUT
        if not keep:
            Review.objects.create(
                record=record,
                reviewer=curator,
                batch=uuid.uuid4(),
                verdict=Review.Verdict.REJECT,
                reason=reason,
                note=look.note,
            )
            take_out_of_summaries(Record.objects.filter(pk=record.pk))
            Record.objects.filter(pk=record.pk).update(state=Record.State.REJECTED)
        open_looks.update(outcome=outcome, closed_by=curator, closed_at=Now())
        record_audit(
            f"second_look.{outcome}",
            actor=curator,
            subject=f"record:{record.public_id}",
            reason=reason,
        )
    look.refresh_from_db()
    return look
