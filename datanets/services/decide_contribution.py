"""The contributor's word before anything is sent: what becomes of personal data, and "send it"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models.functions import Now

from datanets.models import Contribution, PersonalDatum
from datanets.services.submit_contribution import read_again
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of one place, or of all of a kind; to keep it needs a reason."""

    action: str
    reason: str = ""


def decide_contribution(
    *,
    contribution: Contribution,
    actor: User,
    by_kind: Mapping[str, Choice],
    by_place: Mapping[int, Choice],
) -> Contribution:
    """Record the choices (a place's own before its kind's), then read, check and store the file.

    Raises `DomainError` when a place is undecided or kept without a reason, `Conflict` when the
    contribution does not wait for a decision; then nothing is recorded.
    """
    with transaction.atomic():
        row = Contribution.objects.select_for_update().get(pk=contribution.pk)
        if row.state != Contribution.State.NEEDS_DECISION:
            raise Conflict("This contribution does not wait for a decision.")
        places = list(row.personal_data.all())
        for place in places:
            choice = by_place.get(place.pk) or by_kind.get(place.kind)
            place.choice, place.reason = _checked(choice, place)
        PersonalDatum.objects.bulk_update(places, ["choice", "reason"], batch_size=1_000)
        Contribution.objects.filter(pk=row.pk).update(decided_at=Now())
        record_audit(
            "contribution.decide",
            actor=actor,
            subject=f"contribution:{row.public_id}",
            personal_data=_counts(places),
        )
    row.refresh_from_db()
    return read_again(row, actor, Contribution.State.NEEDS_DECISION)


def _checked(choice: Choice | None, place: PersonalDatum) -> tuple[str, str]:
    where = f"row {place.row}, {place.column}"
    if choice is None or choice.action not in PersonalDatum.Choice.values:
        raise DomainError(f"Decide about the {place.get_kind_display()} in {where}.", where=where)
    keeps = choice.action == PersonalDatum.Choice.KEEP
    if keeps and not choice.reason.strip():
        kind = place.get_kind_display()
        raise DomainError(f"Say why the {kind} in {where} should stay.", where=where)
    return choice.action, choice.reason.strip()[:200] if keeps else ""


def _counts(places: Iterable[PersonalDatum]) -> dict[str, int]:
    """For the audit log: kinds and choices, never a place or a text."""
    return dict(Counter(f"{place.kind} {place.choice}" for place in places))
