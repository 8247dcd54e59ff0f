"""Asking for a fee back, and deciding it. The reversal itself is `refund_answer`."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone

from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError, NotAllowed
from rewards.models import EarningLine, Entry, RefundRequest, Settlement
from rewards.services.ledger import lock_accounts
from rewards.services.settlements import RefundTooLate, refund_answer, refund_window_ends

State = RefundRequest.State

OPEN_PER_PERSON_MAX = 5
ASKED_PER_MONTH_MAX = 20
"""A request keeps other people's earnings waiting, so nobody can ask without end."""


class AlreadyAsked(Conflict):
    code = "refund_already_asked"
    message = "A refund of this answer was asked for before. An answer is decided once."


class AlreadyDecided(Conflict):
    code = "refund_already_decided"
    message = "This request was decided already."


class NothingCharged(DomainError):
    code = "nothing_charged"
    message = "This answer cost nothing, so there is nothing to give back."


class TooManyRefunds(DomainError):
    status = 429
    code = "too_many_refunds"


def ask_refund(key: str, *, asked_by: User, reason: str, words: str = "") -> RefundRequest:
    """Ask for the fee of a settled answer back; its earnings stay in holding until it is decided.

    Only its payer may ask, once, within the refund window. Raises `NotAllowed`, `NothingCharged`,
    `AlreadyAsked`, `RefundTooLate`, `TooManyRefunds`.
    """
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=asked_by.pk)
        settlement = Settlement.objects.select_for_update(of=("self",)).get(key=key)
        lines = list(_lines(settlement).select_for_update())
        _check_may_ask(settlement, lines, asked_by)
        decide_by = max(
            refund_window_ends(settlement),
            timezone.now() + timedelta(seconds=settings.REFUND_DECISION_SECONDS),
        )
        _lines(settlement).update(matures_at=decide_by)
        request = RefundRequest.objects.create(
            settlement=settlement,
            asked_by=asked_by,
            reason=reason,
            words=words,
            decide_by=decide_by,
        )
        # Whoever grants it in this same transaction moves wei after this line of the log, and who
        # pays locks accounts before the log: so these are locked before it here too.
        lock_accounts(list(_accounts_moved(settlement)))
        record_audit(
            "refund.ask",
            actor=asked_by,
            subject=f"settlement:{settlement.pk}",
            reason=reason,
            fee_wei=str(settlement.fee_wei),
        )
    return request


def _lines(settlement: Settlement) -> models.QuerySet[EarningLine]:
    return EarningLine.objects.filter(settlement=settlement).order_by("pk")


def _accounts_moved(settlement: Settlement) -> models.QuerySet[Entry, int]:
    entries = Entry.objects.filter(transaction=settlement.transaction_id)
    return entries.values_list("account_id", flat=True)


def _check_may_ask(settlement: Settlement, lines: list[EarningLine], asked_by: User) -> None:
    if settlement.payer_id != asked_by.pk:
        raise NotAllowed("Only whoever paid for an answer can ask for its refund.")
    if settlement.transaction_id is None:
        raise NothingCharged()
    if RefundRequest.objects.filter(settlement=settlement).exists() or settlement.refund_id:
        raise AlreadyAsked()
    released = any(line.state != EarningLine.State.HOLDING for line in lines)
    if released or timezone.now() >= refund_window_ends(settlement):
        raise RefundTooLate()
    mine = RefundRequest.objects.filter(asked_by=asked_by)
    if mine.filter(state=State.OPEN, decide_by__gt=Now()).count() >= OPEN_PER_PERSON_MAX:
        raise TooManyRefunds(
            f"{OPEN_PER_PERSON_MAX} of your requests wait for a decision. Wait for one of them.",
            limit=OPEN_PER_PERSON_MAX,
        )
    month = Now() - timedelta(days=30)
    if mine.filter(created_at__gt=month).count() >= ASKED_PER_MONTH_MAX:
        raise TooManyRefunds(
            f"You asked for {ASKED_PER_MONTH_MAX} refunds within 30 days. Ask again later.",
            limit=ASKED_PER_MONTH_MAX,
        )


def decide_refund(
    request: RefundRequest, *, decided_by: User | None, grant: bool, words: str = ""
) -> RefundRequest:
    """Grant or refuse, once; without a person a rule decided. A grant reverses the settlement.

    Raises `AlreadyDecided`, `RefundTooLate` after `decide_by`, and `NotAllowed` for anybody who
    paid for the answer or earns from it.
    """
    with transaction.atomic():
        # The settlement first: the order in which every path here locks.
        settlement = Settlement.objects.select_for_update(of=("self",)).get(
            pk=request.settlement_id
        )
        row = RefundRequest.objects.select_for_update(of=("self",)).get(pk=request.pk)
        if row.state != State.OPEN:
            raise AlreadyDecided()
        if row.lapsed:
            raise RefundTooLate()
        _check_may_decide(settlement, decided_by)
        if grant:
            refund_answer(settlement.key, reason=f"Refund: {row.get_reason_display().lower()}")
        else:
            _end_waiting(settlement)
        row.state = State.GRANTED if grant else State.REFUSED
        row.decided_by, row.decided_at, row.decision_words = decided_by, Now(), words
        row.save(update_fields=["state", "decided_by", "decided_at", "decision_words"])
        record_audit(
            "refund.grant" if grant else "refund.refuse",
            actor=decided_by,
            subject=f"settlement:{settlement.pk}",
        )
    row.refresh_from_db()
    return row


def _check_may_decide(settlement: Settlement, person: User | None) -> None:
    if person is None:
        return
    if not person.is_staff:
        raise NotAllowed("The staff decides about refunds.")
    if settlement.payer_id == person.pk or _lines(settlement).filter(user=person).exists():
        raise NotAllowed("You paid for this answer or earn from it: somebody else has to decide.")


def _end_waiting(settlement: Settlement) -> None:
    """The earnings go on to where they would be without the request."""
    seconds = settlement.parameters.holding_seconds_in_force
    _lines(settlement).filter(state=EarningLine.State.HOLDING).update(
        matures_at=settlement.created_at + timedelta(seconds=seconds)
    )
