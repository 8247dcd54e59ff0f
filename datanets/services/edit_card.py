"""Answer the questions of a card; choose the rows that the undecided see."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models.functions import Now

from datanets.completeness import CARD_QUESTIONS
from datanets.licences import TRAIN_ONLY
from datanets.models import Datanet, DatanetCard, Record
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict

SAMPLES_MAX = 10


def edit_card(*, datanet: Datanet, actor: User, answers: Mapping[str, str]) -> DatanetCard:
    """Store every answer of the card, and the guidelines where they are among the answers."""
    fields = {name: answers.get(name, "") for name, _, _ in CARD_QUESTIONS}
    with transaction.atomic():
        card, _ = DatanetCard.objects.update_or_create(
            datanet=datanet, defaults={**fields, "updated_by": actor, "updated_at": Now()}
        )
        if "guidelines" in answers:
            datanet.guidelines = answers["guidelines"]
            datanet.save(update_fields=["guidelines"])
        record_audit("datanet.edit_card", actor=actor, subject=f"datanet:{datanet.public_id}")
    return card


def mark_sample(*, record: Record, actor: User, is_sample: bool) -> None:
    """Show an accepted row to everybody who sees the card, or stop that. Raises Conflict."""
    with transaction.atomic():
        Datanet.objects.select_for_update().get(pk=record.datanet_id)
        row = Record.objects.select_for_update(of=("self",)).get(pk=record.pk)
        if is_sample:
            _refuse_unfit(row)
        Record.objects.filter(pk=row.pk).update(is_sample=is_sample)
        record_audit(
            "record.mark_sample" if is_sample else "record.unmark_sample",
            actor=actor,
            subject=f"record:{row.public_id}",
        )


def _refuse_unfit(row: Record) -> None:
    if row.state != Record.State.APPROVED:
        raise Conflict("Only an accepted row can be a sample.")
    if row.contribution.licence == TRAIN_ONLY:
        raise Conflict("Its licence lets models learn from it and nobody else read it.")
    marked = Record.objects.filter(datanet=row.datanet_id, is_sample=True)
    if marked.filter(state=Record.State.APPROVED).exclude(pk=row.pk).count() >= SAMPLES_MAX:
        raise Conflict(f"There are {SAMPLES_MAX} samples. Take the mark from another row first.")
