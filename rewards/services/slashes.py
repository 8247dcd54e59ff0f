"""Slashes: decided by a person, announced, open to appeal, then carried out or overturned.

Each step is a transaction of ours, named after the case and so sent once; what happened is what
the contract's events say.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from eth_utils.crypto import keccak

from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.money import format_open
from rewards.chain.staking import target_id
from rewards.models import ChainTransaction, SlashCase, StakeEvent, StakeTarget
from rewards.selectors.stakes import slash_cap_wei
from rewards.services.sender import queue_transaction

logger = logging.getLogger(__name__)
State = SlashCase.State
_AFTER = {
    StakeEvent.Kind.ANNOUNCED: State.ANNOUNCED,
    StakeEvent.Kind.OVERTURNED: State.OVERTURNED,
    StakeEvent.Kind.SLASHED: State.EXECUTED,
}
_BEFORE = {
    StakeEvent.Kind.ANNOUNCED: State.DECIDED,
    StakeEvent.Kind.OVERTURNED: State.ANNOUNCED,
    StakeEvent.Kind.SLASHED: State.ANNOUNCED,
}
# The chain may refuse a step for something that passes: it is tried again, not at every sweep.
TRY_AGAIN = timedelta(minutes=10)
TOO_LATE = (
    "Overturned in time here, but too late on the chain, where only carrying it out lets people in"
    " and out again. An arbiter may do that; a proposal then has the treasury give it back."
)


class SlashUnderWay(Conflict):
    code = "slash_under_way"
    message = "A slash of this target is open. Wait until it is carried out or overturned."


class SlashAboveCap(DomainError):
    status = 422
    code = "slash_above_cap"


class OwnDecision(Conflict):
    code = "own_decision"
    message = "Who decided a slash does not decide its appeal. Ask another arbiter."


class AppealOver(Conflict):
    code = "appeal_over"
    message = "The appeal window of this slash is over, or it is not on chain yet."


def decide_slash(
    *, subject: str, owner_id: int, amount_wei: int, decision: str, actor: User
) -> SlashCase:
    """Announce a slash by a decided dispute; on chain goes the hash of `decision`.

    `owner_id` is whose the subject is now: their reputation bears it. Raises `SlashAboveCap` and
    `SlashUnderWay`; the contract checks the cap once more.
    """
    evidence = "0x" + bytes(keccak(text=decision)).hex()
    with transaction.atomic():
        target = _slashable(subject, amount_wei)
        cases = SlashCase.objects.filter(chain_id=target.chain_id)
        if cases.filter(target=target.target, state__in=SlashCase.OPEN).exists():
            raise SlashUnderWay()
        if cases.filter(evidence=evidence).exclude(state=State.FAILED).exists():
            raise Conflict("This decision was used before. Write the new one.")
        case = SlashCase.objects.create(
            chain_id=target.chain_id,
            target=target.target,
            subject=subject,
            amount_wei=amount_wei,
            decision=decision,
            evidence=evidence,
            owner_id=owner_id,
            decided_by=actor,
        )
        queue_transaction(
            "slash",
            subject=f"slash:{case.public_id}",
            target=case.target,
            amount_wei=str(amount_wei),
            evidence=evidence,
        )
        record_audit(
            "slash.decide",
            actor=actor,
            subject=f"slash:{case.public_id}",
            amount_wei=str(amount_wei),
            evidence=evidence,
        )
    return case


def _slashable(subject: str, amount_wei: int) -> StakeTarget:
    """The target, locked so that two decisions stand in line. Raises `SlashAboveCap`."""
    targets = StakeTarget.objects.select_for_update().filter(chain_id=settings.CHAIN_ID)
    target = targets.filter(target=target_id(subject)).first()
    cap_wei = slash_cap_wei(target)
    if target is None or amount_wei > cap_wei:
        raise SlashAboveCap(
            f"At most {format_open(cap_wei)} OPEN can be slashed here now. Write less.",
            where="amount",
            limit=cap_wei,
        )
    return target


def overturn_slash(*, case: SlashCase, reason: str, actor: User) -> SlashCase:
    """Let an arbiter drop a slash inside its appeal window. Raises `OwnDecision`, `AppealOver`."""
    with transaction.atomic():
        case = SlashCase.objects.select_for_update().get(pk=case.pk)
        if case.decided_by_id == actor.pk:
            raise OwnDecision()
        in_window = SlashCase.objects.filter(pk=case.pk, executable_at__gt=Now()).exists()
        if case.state != State.ANNOUNCED or not in_window:
            raise AppealOver()
        if case.overturned_by_id is None:
            case.overturned_by, case.overturn_reason = actor, reason
            case.save(update_fields=["overturned_by", "overturn_reason"])
            queue_transaction(
                "overturn-slash", subject=f"slash:{case.public_id}", target=case.target
            )
            record_audit("slash.overturn", actor=actor, subject=f"slash:{case.public_id}")
    return case


def carry_out_overturned(*, case: SlashCase, actor: User) -> SlashCase:
    """Let an arbiter open a target whose slash was overturned too late on the chain: the treasury
    gets the stake, and a vote gives it back. Raises `Conflict` for any other slash.
    """
    with transaction.atomic():
        case = SlashCase.objects.select_for_update().get(pk=case.pk)
        if not case.is_stranded:
            raise Conflict("This slash was not overturned too late: nothing is to be done by hand.")
        _queue_unless_under_way(case, "execute-slash")
        record_audit("slash.carry_out_overturned", actor=actor, subject=f"slash:{case.public_id}")
    return case


def advance_slashes() -> None:
    """Carry out what nobody overturned in time, and note what the contract refused."""
    open_cases = SlashCase.objects.filter(chain_id=settings.CHAIN_ID, state__in=SlashCase.OPEN)
    for case in open_cases.order_by("pk"):
        with transaction.atomic():
            locked = SlashCase.objects.select_for_update().get(pk=case.pk)
            if locked.state == State.DECIDED:
                _note_refusal(locked)
            elif locked.state == State.ANNOUNCED and locked.overturned_by_id is not None:
                _overturn_again_or_say_so(locked)
            elif locked.state == State.ANNOUNCED and _is_due(locked):
                _queue_unless_under_way(locked, "execute-slash")


def _note_refusal(case: SlashCase) -> None:
    row = _last(case, "slash")
    if row is not None and row.state == ChainTransaction.State.FAILED:
        case.state, case.problem = State.FAILED, row.problem
        case.save(update_fields=["state", "problem"])


def _overturn_again_or_say_so(case: SlashCase) -> None:
    """An arbiter's word holds, though the chain was away until the window was over."""
    row = _last(case, "overturn-slash")
    if row is None or row.state != ChainTransaction.State.FAILED:
        return
    if not _is_due(case):
        _queue_unless_under_way(case, "overturn-slash")
    elif case.problem != TOO_LATE:
        case.problem = TOO_LATE
        case.save(update_fields=["problem"])
        logger.error("slash %s was overturned too late on the chain", case.public_id)


def _is_due(case: SlashCase) -> bool:
    return SlashCase.objects.filter(pk=case.pk, executable_at__lte=Now()).exists()


def _queue_unless_under_way(case: SlashCase, purpose: str) -> None:
    """Also where the last one failed, a while ago."""
    last = _last(case, purpose)
    if last is not None:
        old = ChainTransaction.objects.filter(pk=last.pk, created_at__lt=Now() - TRY_AGAIN)
        if last.state != ChainTransaction.State.FAILED or not old.exists():
            return
    queue_transaction(purpose, subject=f"slash:{case.public_id}", target=case.target)


def _last(case: SlashCase, purpose: str) -> ChainTransaction | None:
    sent = ChainTransaction.objects.filter(
        chain_id=case.chain_id, purpose=purpose, subject=f"slash:{case.public_id}"
    )
    return sent.order_by("pk").last()


def follow_slash(event: StakeEvent) -> None:
    """What the contract said about a slash becomes the state of its case."""
    case = _case_of(event)
    if case is None:
        return
    case.state = _AFTER[StakeEvent.Kind(event.kind)]
    if event.kind == StakeEvent.Kind.ANNOUNCED:
        case.executable_at = event.due_at
    case.save(update_fields=["state", "executable_at"])


def unfollow_slash(event: StakeEvent) -> None:
    """The block of the event left the chain: the case stands where it stood before."""
    case = _case_of(event)
    if case is not None:
        case.state = _BEFORE[StakeEvent.Kind(event.kind)]
        case.save(update_fields=["state"])


def _case_of(event: StakeEvent) -> SlashCase | None:
    cases = SlashCase.objects.select_for_update().filter(chain_id=event.chain_id)
    same = cases.filter(target=event.target, evidence=event.evidence)
    return same.exclude(state=State.FAILED).first()
