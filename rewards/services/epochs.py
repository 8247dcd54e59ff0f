"""Payouts: what is payable becomes claimable, under one cumulative root that goes on chain.

closed → funded → proposed → active. Each step is a transaction of ours, named after the epoch and
so sent once; `advance_epochs` may run, crash and run again at any point.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from rewards.chain.contracts import Addresses
from rewards.models import ChainTransaction, Epoch
from rewards.selectors.money import payout_freeze
from rewards.services.chain import chain_client, contract_addresses, stand_in_line
from rewards.services.epoch_books import (
    LeafFile,
    collect_due,
    cumulative_rows,
    post_due,
    write_payouts,
)
from rewards.services.parameters import EPOCH_LOCK
from rewards.services.sender import DONE_BEFORE, queue_transaction

WAIT_FOR_ANOTHER = timedelta(minutes=10)
"""So long a root of ours may be activated by somebody else before it counts as refused."""

State = Epoch.State


class PayoutsFrozen(Conflict):
    code = "payouts_frozen"
    message = "Payouts stand still: the last check of the books found a difference."


class EpochUnderWay(Conflict):
    code = "epoch_under_way"
    message = "The last epoch is not on chain yet. Close the next one after it is active."


class NothingToPay(Conflict):
    code = "nothing_to_pay"
    message = "Nobody with a linked wallet has payable earnings."


def close_epoch(*, actor: User | None) -> Epoch:
    """Make payable earnings of people with a linked wallet claimable, under a new root.

    People without a wallet keep accruing. Raises `PayoutsFrozen`, `EpochUnderWay`, `NothingToPay`,
    and `ContractsMissing` before deployment.
    """
    addresses = contract_addresses()
    with transaction.atomic():
        stand_in_line(EPOCH_LOCK)
        _refuse_unless_ready()
        people, amount_wei = collect_due()
        if not people:
            raise NothingToPay()
        number = (Epoch.objects.aggregate(last=Max("number"))["last"] or 0) + 1
        epoch = _write_epoch(number, amount_wei, addresses)
        record_audit(
            "epoch.close",
            actor=actor,
            subject=f"epoch:{number}",
            amount_wei=str(epoch.amount_wei),
            leaves=epoch.leaves,
            root=epoch.root,
        )
    return epoch


def _refuse_unless_ready() -> None:
    if payout_freeze():
        raise PayoutsFrozen()
    if Epoch.objects.exclude(state__in=[State.ACTIVE, State.FAILED]).exists():
        raise EpochUnderWay()


def _write_epoch(number: int, amount_wei: int, addresses: Addresses) -> Epoch:
    posted = post_due(number)
    write_payouts(number, addresses)
    leaf_file = LeafFile(number, addresses)
    digest = leaf_file.store(cumulative_rows(number, addresses))
    return Epoch.objects.create(
        number=number,
        root=leaf_file.root,
        leaves=leaf_file.leaves,
        amount_wei=amount_wei,
        total_wei=leaf_file.total_wei,
        leaf_file=digest,
        distributor=addresses.distributor,
        chain_id=addresses.chain_id,
        transaction=posted,
    )


def advance_epochs() -> None:
    """Take the epoch under way to its next step, if the chain is ready for it."""
    if payout_freeze():
        return
    for epoch in Epoch.objects.exclude(state__in=[State.ACTIVE, State.FAILED]).order_by("number"):
        with transaction.atomic():
            locked = Epoch.objects.select_for_update().get(pk=epoch.pk)
            _STEPS.get(State(locked.state), _stay)(locked)


def _stay(epoch: Epoch) -> None:
    return


def _fund(epoch: Epoch) -> None:
    """The distributor must hold all that the root promises; what it lacks comes from the escrow."""
    subject = f"epoch:{epoch.number}"
    row = ChainTransaction.objects.filter(
        chain_id=epoch.chain_id, purpose="fund", subject=subject
    ).last()
    if row is None:
        missing = epoch.total_wei - chain_client().distributor_state(epoch.distributor).funded_wei
        if missing <= 0:
            _move(epoch, State.FUNDED)
            return
        row = queue_transaction("fund", subject=subject, amount_wei=str(missing))
    _follow(epoch, row, State.FUNDED)


def _propose(epoch: Epoch) -> None:
    arguments = {
        "root": epoch.root,
        "total_wei": str(epoch.total_wei),
        "leaf_file": epoch.leaf_file,
        "epoch": epoch.number,
    }
    row = _sent_once(epoch, "propose", arguments)
    if _follow(epoch, row, State.PROPOSED):
        timestamp = chain_client().distributor_state(epoch.distributor).activatable_at_timestamp
        # One second on top: the chain counts whole seconds.
        at = datetime.fromtimestamp((timestamp or 0) + 1, tz=UTC)
        Epoch.objects.filter(pk=epoch.pk).update(activatable_at=at)


def _activate(epoch: Epoch) -> None:
    ready = Epoch.objects.filter(pk=epoch.pk, activatable_at__lte=Now())
    if not ready.exists():
        return
    row = _sent_once(epoch, "activate", {"root": epoch.root})
    # Anybody may activate a root. Where somebody was faster our call failed, and the root counts.
    by_another = row.state == row.State.FAILED and _is_accepted(epoch)
    if row.state == row.State.FAILED and not by_another and _is_young(row):
        return  # theirs may be on its way: a node refuses ours before it is in a block
    if by_another:
        _move(epoch, State.ACTIVE)
    if by_another or _follow(epoch, row, State.ACTIVE):
        Epoch.objects.filter(pk=epoch.pk).update(activated_at=Now())


def _is_young(row: ChainTransaction) -> bool:
    young = ChainTransaction.objects.filter(pk=row.pk, created_at__gt=Now() - WAIT_FOR_ANOTHER)
    return young.exists()


def _is_accepted(epoch: Epoch) -> bool:
    return chain_client().is_root_accepted(epoch.distributor, bytes.fromhex(epoch.root[2:]))


def _sent_once(epoch: Epoch, purpose: str, arguments: dict[str, Any]) -> ChainTransaction:
    subject = f"epoch:{epoch.number}"
    existing = ChainTransaction.objects.filter(
        chain_id=epoch.chain_id, purpose=purpose, subject=subject
    ).last()
    return existing or queue_transaction(purpose, subject=subject, **arguments)


def _follow(epoch: Epoch, row: ChainTransaction, next_state: Epoch.State) -> bool:
    """Move on once the transaction is mined; say whether it was."""
    done = row.state in (row.State.MINED, row.State.FINAL) or row.problem == DONE_BEFORE
    if done:
        _move(epoch, next_state)
    elif row.state == row.State.FAILED:
        _move(epoch, State.FAILED, row.problem)
    return done


def _move(epoch: Epoch, state: Epoch.State, problem: str = "") -> None:
    epoch.state, epoch.problem = state, problem
    epoch.save(update_fields=["state", "problem"])


_STEPS = {State.CLOSED: _fund, State.FUNDED: _propose, State.PROPOSED: _activate}
