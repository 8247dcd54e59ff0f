"""Payouts: what is payable becomes claimable, under one cumulative root that goes on chain.

closed → funded → proposed → active. Each step is a transaction of ours, named after the epoch and
so sent once; `advance_epochs` may run, crash and run again at any point.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from openledger_site.accounts.models import User, Wallet
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from openledger_site.core.storage import store_bytes
from rewards.chain.contracts import Addresses
from rewards.merkle import PayoutTree
from rewards.models import Account, ChainTransaction, Epoch, EpochPayout, PayoutFreeze, Transaction
from rewards.services.chain import chain_client, contract_addresses
from rewards.services.ledger import Leg, post, user_account
from rewards.services.sender import DONE_BEFORE, queue_transaction

Kind = Account.Kind
State = Epoch.State
EPOCH_LOCK = 0x0A0D1A


class PayoutsFrozen(Conflict):
    code = "payouts_frozen"
    message = "Payouts stand still: the last check of the books found a difference."


class EpochUnderWay(Conflict):
    code = "epoch_under_way"
    message = "The last epoch is not on chain yet. Close the next one after it is active."


class NothingToPay(Conflict):
    code = "nothing_to_pay"
    message = "Nobody with a linked wallet has payable earnings."


@dataclass(frozen=True)
class Due:
    """Wei that become claimable for one person at one address."""

    user: User
    address: str
    amount_wei: int


def close_epoch(*, actor: User | None) -> Epoch:
    """Make payable earnings of people with a linked wallet claimable, under a new root.

    People without a wallet keep accruing. Raises `PayoutsFrozen`, `EpochUnderWay`, `NothingToPay`,
    and `ContractsMissing` before deployment.
    """
    addresses = contract_addresses()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [EPOCH_LOCK])
        _refuse_unless_ready()
        due = _due()
        if not due:
            raise NothingToPay()
        number = (Epoch.objects.aggregate(last=Max("number"))["last"] or 0) + 1
        epoch = _write_epoch(number, due, addresses, _make_claimable(number, due))
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
    if PayoutFreeze.objects.filter(lifted_at__isnull=True).exists():
        raise PayoutsFrozen()
    if Epoch.objects.exclude(state__in=[State.ACTIVE, State.FAILED]).exists():
        raise EpochUnderWay()


def _due() -> list[Due]:
    payable = (
        Account.objects.select_for_update(of=("self",))
        .select_related("owner")
        .filter(kind=Kind.PAYABLE, balance_wei__gt=0)
        .order_by("pk")
    )
    wallets = payout_addresses()
    return [
        Due(account.owner, wallets[account.owner.pk], account.balance_wei)
        for account in payable
        if account.owner is not None and account.owner.pk in wallets
    ]


def payout_addresses() -> dict[int, str]:
    """Where each person is paid: the wallet that has been linked longest."""
    linked = Wallet.objects.filter(chain_id=settings.CHAIN_ID, unlinked_at__isnull=True)
    newest_first = linked.order_by("-linked_at", "-pk").values_list("user_id", "address")
    return dict(newest_first)


def _make_claimable(number: int, due: list[Due]) -> Transaction:
    legs: list[Leg] = []
    for item in due:
        legs.append((user_account(item.user, Kind.PAYABLE), -item.amount_wei))
        legs.append((user_account(item.user, Kind.CLAIMABLE), item.amount_wei))
    return post(key=f"epoch:{number}", kind="epoch", legs=legs, reason=f"Epoch {number}")


def _write_epoch(number: int, due: list[Due], addresses: Addresses, posted: Transaction) -> Epoch:
    cumulative = _cumulative_until_now(addresses)
    for item in due:
        cumulative[item.address] = cumulative.get(item.address, 0) + item.amount_wei
    tree = PayoutTree.build(
        cumulative, chain_id=addresses.chain_id, distributor=addresses.distributor
    )
    root = "0x" + tree.root.hex()
    epoch = Epoch.objects.create(
        number=number,
        root=root,
        leaves=len(cumulative),
        amount_wei=sum(item.amount_wei for item in due),
        total_wei=tree.total_wei,
        leaf_file=store_bytes(_leaf_file(number, root, addresses, tree.cumulative_wei)),
        distributor=addresses.distributor,
        chain_id=addresses.chain_id,
        transaction=posted,
    )
    EpochPayout.objects.bulk_create(
        EpochPayout(
            epoch=epoch,
            user=item.user,
            address=item.address,
            amount_wei=item.amount_wei,
            cumulative_wei=cumulative[item.address],
        )
        for item in due
    )
    return epoch


def _cumulative_until_now(addresses: Addresses) -> dict[str, int]:
    """All that each address ever got from this distributor, in wei."""
    rows = (
        EpochPayout.objects.filter(
            epoch__chain_id=addresses.chain_id, epoch__distributor=addresses.distributor
        )
        .values_list("address")
        .annotate(cumulative=Max("cumulative_wei"))
    )
    return {address: int(amount) for address, amount in rows}


def _leaf_file(
    number: int, root: str, addresses: Addresses, cumulative: Mapping[str, int]
) -> bytes:
    """The public list anybody can rebuild the root from: canonical JSON, accounts in order."""
    content: dict[str, Any] = {
        "chain_id": addresses.chain_id,
        "distributor": addresses.distributor,
        "epoch": number,
        "leaf_encoding": ["uint256 chain_id", "address distributor", "address", "uint256 wei"],
        "leaves": [[account, str(cumulative[account])] for account in sorted(cumulative)],
        "root": root,
        "total_wei": str(sum(cumulative.values())),
    }
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def advance_epochs() -> None:
    """Take the epoch under way to its next step, if the chain is ready for it."""
    if PayoutFreeze.objects.filter(lifted_at__isnull=True).exists():
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
    if _follow(epoch, row, State.ACTIVE):
        Epoch.objects.filter(pk=epoch.pk).update(activated_at=Now())


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
