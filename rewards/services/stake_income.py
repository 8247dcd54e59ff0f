"""The stakers' part of each fee, from the books into OpenStaking, once.

planned → taken → approved → done. A round begins in the books: what has left its refund window is
cut by target and set aside. Then the operator takes it from the escrow, approves the contract and
pays in target by target. Each step is a transaction of ours, named after the round, so
`advance_income` may run, crash and run again at any point. The books follow the contract's events
(`income_books`), never our own word. The rule is docs/decisions/0024.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Sum
from django.db.models.functions import Now

from openledger_site.core.audit import record_audit
from rewards.chain.contracts import Addresses
from rewards.models import (
    Account,
    ChainTransaction,
    IncomePayment,
    IncomeRound,
    RefundRequest,
    StakerShare,
    StakeTarget,
)
from rewards.selectors.money import payout_freeze
from rewards.services.batches import post_many, raise_refusals
from rewards.services.chain import contract_addresses, operator_signer, stand_in_line
from rewards.services.income_books import FLOAT, TREASURY
from rewards.services.ledger import Posting, post, system_account
from rewards.services.sender import DONE_BEFORE, on_chain_id, queue_transaction

Kind = Account.Kind
State = IncomeRound.State
INCOME_LOCK = 0x0A0D1B
SHARES_AT_ONCE = 20_000
RETRY_SECONDS = 600


def pay_stakers() -> IncomeRound | None:
    """Plan the next round once the last one is `STAKE_ROUND_SECONDS` old; None when not due.

    Raises `ContractsMissing` before deployment.
    """
    young = IncomeRound.objects.filter(
        planned_at__gt=Now() - timedelta(seconds=settings.STAKE_ROUND_SECONDS)
    )
    return None if young.exists() else plan_income_round()


def plan_income_round() -> IncomeRound | None:
    """Set aside what has left its refund window; None when there is nothing or a round is open.

    Targets that have stakers now are paid; the rest goes to the treasury, which only a vote
    spends. So nobody gains by being the first to stake where fees have piled up.
    """
    addresses = contract_addresses()
    if not addresses.staking:
        return None
    with transaction.atomic():
        stand_in_line(INCOME_LOCK)
        if _must_wait():
            return None
        shares = _mature_shares()
        if not shares:
            return None
        return _plan(shares, addresses)


def _must_wait() -> bool:
    return (
        payout_freeze() is not None
        or IncomeRound.objects.exclude(state=State.DONE).exists()
        # A block that left the chain took a payment with it: its bytes are on their way again.
        or IncomePayment.objects.filter(state=IncomePayment.State.DUE).exists()
    )


def _mature_shares() -> list[tuple[int, str, int]]:
    """Locked with their settlements, so that no refund comes between: (id, subject, wei).

    Those of a refund that is being decided wait with the earnings; asked for once all are locked,
    because a request locks the settlement before it is written.
    """
    rows = list(
        StakerShare.objects.select_for_update(of=("self", "settlement"))
        .select_related("settlement")
        .filter(payment__isnull=True, matures_at__lte=Now(), settlement__refund__isnull=True)
        .order_by("pk")[:SHARES_AT_ONCE]
    )
    being_decided = set(
        RefundRequest.objects.filter(
            settlement__in={share.settlement_id for share in rows},
            state=RefundRequest.State.OPEN,
            decide_by__gt=Now(),
        ).values_list("settlement_id", flat=True)
    )
    return [
        (share.pk, share.subject, int(share.amount_wei))
        for share in rows
        if share.settlement_id not in being_decided
    ]


def _plan(shares: list[tuple[int, str, int]], addresses: Addresses) -> IncomeRound:
    staked = _targets_with_stakers({subject for _, subject, _ in shares}, addresses)
    by_subject: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for share_id, subject, amount in shares:
        by_subject[subject if subject in staked else ""].append((share_id, amount))
    sums = {subject: sum(wei for _, wei in rows) for subject, rows in by_subject.items()}
    treasury_wei = sums.get("", 0)
    targets_wei = sum(sums.values()) - treasury_wei
    round_ = IncomeRound.objects.create(
        number=(IncomeRound.objects.aggregate(last=Max("number"))["last"] or 0) + 1,
        chain_id=addresses.chain_id,
        staking=addresses.staking,
        treasury=addresses.timelock,
        targets_wei=targets_wei,
        treasury_wei=treasury_wei,
        withdraw_wei=max(0, targets_wei - float_wei(addresses.chain_id)),
    )
    _set_aside(round_, sums, staked, by_subject)
    record_audit(
        "stakers.round",
        actor=None,
        subject=f"round:{round_.number}",
        targets_wei=str(targets_wei),
        treasury_wei=str(treasury_wei),
    )
    return round_


def _targets_with_stakers(subjects: set[str], addresses: Addresses) -> dict[str, str]:
    """Target by subject, for those with bonded stake when the books last read them."""
    targets = {subject: "0x" + on_chain_id(subject).hex() for subject in subjects if subject}
    bonded = StakeTarget.objects.filter(
        chain_id=addresses.chain_id, target__in=targets.values(), bonded_shares__gt=0
    )
    staked = set(bonded.values_list("target", flat=True))
    return {subject: target for subject, target in targets.items() if target in staked}


def _set_aside(
    round_: IncomeRound,
    sums: dict[str, int],
    staked: dict[str, str],
    by_subject: dict[str, list[tuple[int, int]]],
) -> None:
    pool, due = system_account(Kind.STAKERS), system_account(Kind.STAKERS_DUE)
    postings = [
        Posting(
            key=f"stakers:{round_.number}:{staked.get(subject, 'treasury')}",
            kind="stakers",
            legs=[(pool, -amount), (due, amount)],
            reason=f"Stakers' part, round {round_.number}",
        )
        for subject, amount in sums.items()
    ]
    posted = raise_refusals(post_many(postings))
    for (subject, amount), row in zip(sums.items(), posted, strict=True):
        payment = IncomePayment.objects.create(
            round=round_,
            target=staked.get(subject, ""),
            subject=subject,
            amount_wei=amount,
            transaction=row,
        )
        ids = [share_id for share_id, _ in by_subject[subject]]
        StakerShare.objects.filter(pk__in=ids).update(payment=payment)
        if subject:
            StakeTarget.objects.filter(target=staked[subject]).update(subject=subject)


def float_wei(chain_id: int) -> int:
    """What rounds took from the escrow and did not pay in: still the stakers', in our wallet."""
    taken = IncomeRound.objects.filter(chain_id=chain_id).aggregate(wei=Sum("withdraw_wei"))["wei"]
    paid = IncomePayment.objects.filter(
        round__chain_id=chain_id, state=IncomePayment.State.PAID
    ).exclude(target="")
    return int(taken or 0) - int(paid.aggregate(wei=Sum("amount_wei"))["wei"] or 0)


def advance_income() -> None:
    """Take the open round to its next step, if the chain is ready for it."""
    if payout_freeze():
        return
    for round_ in IncomeRound.objects.exclude(state=State.DONE):
        with transaction.atomic():
            locked = IncomeRound.objects.select_for_update().get(pk=round_.pk)
            _STEPS.get(State(locked.state), _stay)(locked)


def _stay(round_: IncomeRound) -> None:
    return


def _take(round_: IncomeRound) -> None:
    """Out of the escrow: to the wallet that pays the targets, and to the treasury."""
    number, rows = round_.number, []
    if round_.withdraw_wei:
        given = {"to": operator_signer().address, "amount_wei": str(round_.withdraw_wei)}
        rows.append(_sent(round_, "withdraw", f"{FLOAT}:{number}", given))
    if round_.treasury_wei:
        given = {"to": round_.treasury, "amount_wei": str(round_.treasury_wei)}
        rows.append(_sent(round_, "withdraw", f"{TREASURY}:{number}", given))
    _move_when_mined(round_, rows, State.TAKEN)


def _approve(round_: IncomeRound) -> None:
    rows = []
    if round_.targets_wei:
        given = {"spender": round_.staking, "amount_wei": str(round_.targets_wei)}
        rows.append(_sent(round_, "approve", f"{FLOAT}:{round_.number}", given))
    _move_when_mined(round_, rows, State.APPROVED)


def _pay_in(round_: IncomeRound) -> None:
    due = round_.payments.select_for_update(of=("self",)).filter(state=IncomePayment.State.DUE)
    for payment in due.select_related("chain_transaction").order_by("pk"):
        sent = payment.chain_transaction
        if payment.target and sent is None:
            payment.chain_transaction = queue_transaction(
                "income",
                subject=f"{FLOAT}:{round_.number}:{payment.target}",
                target=payment.target,
                amount_wei=str(payment.amount_wei),
            )
            payment.save(update_fields=["chain_transaction"])
        elif sent is not None and sent.state == sent.State.FAILED:
            _give_back(payment)
    if not due.exists():
        round_.state, round_.done_at, round_.problem = State.DONE, Now(), ""
        round_.save(update_fields=["state", "done_at", "problem"])


def _give_back(payment: IncomePayment) -> None:
    """The contract did not take it, for example because the last staker left: next round again."""
    pool, due = system_account(Kind.STAKERS), system_account(Kind.STAKERS_DUE)
    post(
        key=f"stakers-return:{payment.round_id}:{payment.target}",
        kind="stakers",
        legs=[(due, -payment.amount_wei), (pool, payment.amount_wei)],
        reason=f"Not paid in, round {payment.round_id}",
    )
    payment.shares.update(payment=None)
    payment.state = IncomePayment.State.RETURNED
    payment.save(update_fields=["state"])


def _sent(
    round_: IncomeRound, purpose: str, subject: str, arguments: dict[str, Any]
) -> ChainTransaction:
    """This step's transaction; a refused one is queued again after a while, never doubled."""
    sent = ChainTransaction.objects.filter(
        chain_id=round_.chain_id, purpose=purpose, subject=subject
    )
    row = sent.order_by("pk").last()
    if row is None or (_is_refused(row) and not _was_lately(row)):
        return queue_transaction(purpose, subject=subject, **arguments)
    return row


def _is_refused(row: ChainTransaction) -> bool:
    return row.state == row.State.FAILED and row.problem != DONE_BEFORE


def _was_lately(row: ChainTransaction) -> bool:
    since = Now() - timedelta(seconds=RETRY_SECONDS)
    return ChainTransaction.objects.filter(pk=row.pk, created_at__gt=since).exists()


def _move_when_mined(
    round_: IncomeRound, rows: list[ChainTransaction], next_state: IncomeRound.State
) -> None:
    refused = next((row for row in rows if _is_refused(row)), None)
    round_.problem = refused.problem if refused else ""
    mined = (ChainTransaction.State.MINED, ChainTransaction.State.FINAL)
    if all(row.state in mined or row.problem == DONE_BEFORE for row in rows):
        round_.state = next_state
    round_.save(update_fields=["state", "problem"])


_STEPS = {State.PLANNED: _take, State.TAKEN: _approve, State.APPROVED: _pay_in}
