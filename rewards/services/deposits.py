"""From the chain into the books: deposits credited, claims booked, both undone after a reorg.

Only final blocks count. The cursor moves in the transaction that posts the events, so a crash
repeats a range and finds its rows already there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from openledger_site.accounts.models import User, Wallet
from openledger_site.core.audit import record_audit
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.errors import ChainUnavailable
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.records import BlockReference, DepositEvent
from rewards.models import Account, ChainCursor, Claim, Deposit, SignedPayment
from rewards.services.assets import asset_events, book_assets, void_assets
from rewards.services.chain import (
    WATCHER_LOCK,
    chain_client,
    contract_addresses,
    only_runner,
    stand_in_line,
)
from rewards.services.chain_events import void_left
from rewards.services.claims import book_claim, void_claim
from rewards.services.governance import (
    book_governance,
    carry_out_decisions,
    governance_events,
    void_governance,
)
from rewards.services.ledger import post, system_account, user_account
from rewards.services.parameters import EPOCH_LOCK
from rewards.services.relay_settlement import hold_fee_of
from rewards.services.stakes import book_stakes, read_stakes, stake_events, void_stakes
from rewards.services.vesting import book_vesting, read_vesting, vesting_events, void_vesting

logger = logging.getLogger(__name__)
Kind = Account.Kind
BLOCKS_AT_ONCE = 2_000


@dataclass(frozen=True)
class WatchResult:
    """What one look at the chain changed."""

    block_number: int
    deposits: int = 0
    claims: int = 0
    voided: int = 0


def watch_chain() -> WatchResult | None:
    """Book every new event up to the finalized block; None when another process is at it.

    Raises `ChainError` when the chain is away and `ContractsMissing` before deployment.
    """
    with only_runner(WATCHER_LOCK) as alone:
        return catch_up(chain_client(), contract_addresses()) if alone else None


def catch_up(client: ChainClient, addresses: Addresses) -> WatchResult:
    """As `watch_chain`; the caller holds the watcher's lock."""
    head = client.finalized_block()
    cursor, voided = _cursor_on_this_chain(client, addresses, head)
    deposits = claims = 0
    while cursor.block_number < head.number:
        last = min(cursor.block_number + BLOCKS_AT_ONCE, head.number)
        reached = head if last == head.number else client.block(last)
        if reached is None:
            break
        found = _book_range(client, addresses, cursor, reached)
        deposits, claims = deposits + found[0], claims + found[1]
    for address in _unassigned_addresses_now_linked():
        credit_unassigned(address)
    carry_out_decisions()
    read_stakes(client, addresses, cursor.block_number)
    read_vesting(client, addresses, cursor.block_number)
    return WatchResult(cursor.block_number, deposits, claims, voided)


def _book_range(
    client: ChainClient, addresses: Addresses, cursor: ChainCursor, reached: BlockReference
) -> tuple[int, int]:
    first = cursor.block_number + 1
    deposits = deposit_events(client, addresses, first, reached.number)
    claims = client.claim_events(addresses.distributor, first, reached.number)
    votes = governance_events(client, addresses, first, reached.number)
    stakes = stake_events(client, addresses, first, reached.number)
    tokens = asset_events(client, addresses, first, reached.number)
    grants = vesting_events(client, addresses, first, reached.number)
    with transaction.atomic():
        if votes.parameters:  # before any account, as whoever closes an epoch does
            stand_in_line(EPOCH_LOCK)
        credited = sum(_credit(event, addresses.chain_id) for event in deposits)
        booked = sum(book_claim(event, addresses.chain_id) for event in claims)
        book_stakes(stakes, addresses)
        book_assets(tokens, addresses)
        book_vesting(grants, addresses)
        book_governance(votes, addresses)  # last: it writes to the log, and accounts come before
        cursor.block_number, cursor.block_hash = reached.number, reached.hash
        cursor.seen_at = Now()
        cursor.save()
    return credited, booked


def deposit_events(
    client: ChainClient, addresses: Addresses, first: int, last: int
) -> list[DepositEvent]:
    """OPEN that its owners put into custody: by the escrow's own doors, or by a signature."""
    by_door = client.deposit_events(addresses.escrow, first, last)
    signed = client.authorized_deposit_events(addresses.token, addresses.escrow, first, last)
    return sorted(
        [*by_door, *signed], key=lambda event: (event.place.block_number, event.place.log_index)
    )


def _cursor_on_this_chain(
    client: ChainClient, addresses: Addresses, head: BlockReference
) -> tuple[ChainCursor, int]:
    """The cursor, moved back (and later events voided) if its block is no longer on the chain."""
    start = addresses.deployed_block - 1
    cursor, _ = ChainCursor.objects.get_or_create(
        chain_id=addresses.chain_id,
        defaults={"escrow": addresses.escrow, "block_number": start, "block_hash": ""},
    )
    if cursor.escrow == addresses.escrow and _stands(client, cursor):
        return cursor, 0
    logger.warning(
        "chain went back: chain=%s cursor=%s head=%s",
        cursor.chain_id,
        cursor.block_number,
        head.number,
    )
    with transaction.atomic():
        return cursor, _rewind(client, cursor, addresses, start)


def _stands(client: ChainClient, cursor: ChainCursor) -> bool:
    if not cursor.block_hash:
        return True
    found = client.block_hash(cursor.block_number)
    if found is None and cursor.chain_id != DEVELOPMENT_CHAIN_ID:
        # Final blocks do not vanish from a public chain: this node is behind the last one we asked.
        raise ChainUnavailable(f"The node has no block {cursor.block_number} yet.")
    return found == cursor.block_hash


def _rewind(client: ChainClient, cursor: ChainCursor, addresses: Addresses, start: int) -> int:
    """Void what stands in blocks that left the chain; read on after the newest one that stayed.

    A node that contradicts itself, or several behind one address, can take an old block away and
    leave a later one. So reading goes on before the oldest voided row, or what came back is missed.
    """
    voided = void_left(client, Deposit, cursor.chain_id, void_deposit)
    voided += void_left(client, Claim, cursor.chain_id, void_claim)
    voided += void_governance(client, cursor.chain_id) + void_stakes(client, cursor.chain_id)
    voided += void_assets(client, cursor.chain_id) + void_vesting(client, cursor.chain_id)
    kept = (start, "")
    if cursor.escrow == addresses.escrow:
        kept = max([kept, *_newest_standing(cursor.chain_id, min(voided, default=None))])
    cursor.block_number, cursor.block_hash = kept
    cursor.escrow, cursor.rewinds = addresses.escrow, cursor.rewinds + 1
    cursor.save()
    record_audit(
        "chain.rewind",
        actor="watcher",
        subject=f"chain:{cursor.chain_id}",
        voided=len(voided),
        newest_kept_block=cursor.block_number,
    )
    return len(voided)


def _newest_standing(chain_id: int, before: int | None) -> Iterator[tuple[int, str]]:
    """Number and hash of the block of the newest deposit and the newest claim that stand."""
    for model in (Deposit, Claim):
        standing = model.objects.filter(chain_id=chain_id).exclude(state="voided")
        if before is not None:
            standing = standing.filter(block_number__lt=before)
        newest = standing.order_by("-block_number", "-log_index")
        yield from newest.values_list("block_number", "block_hash")[:1]


def _owner_of(address: str, chain_id: int) -> User | None:
    wallet = (
        Wallet.objects.select_related("user")
        .filter(address__iexact=address, chain_id=chain_id, unlinked_at__isnull=True)
        .filter(user__is_active=True)
        .first()
    )
    return wallet.user if wallet else None


def _credit(event: DepositEvent, chain_id: int) -> bool:
    """Book one deposit; False when it is booked already."""
    place = event.place
    deposit = Deposit.objects.filter(
        chain_id=chain_id,
        transaction_hash=place.transaction_hash,
        log_index=place.log_index,
        block_hash=place.block_hash,
    ).first()
    if deposit is None:
        deposit = Deposit(
            chain_id=chain_id,
            transaction_hash=place.transaction_hash,
            log_index=place.log_index,
            block_number=place.block_number,
            block_hash=place.block_hash,
            address=event.account,
            amount_wei=event.amount_wei,
        )
    elif deposit.state != Deposit.State.VOIDED:
        return False
    else:
        deposit.applications += 1  # the block came back
    _apply(deposit)
    if event.authorization_nonce:
        SignedPayment.objects.filter(
            chain_id=chain_id,
            payer=event.account,
            nonce=event.authorization_nonce,
            amount_wei=event.amount_wei,
            source=SignedPayment.Source.CHAIN,
        ).update(deposit=deposit)
        hold_fee_of(deposit, event.authorization_nonce)
    return True


def _apply(deposit: Deposit) -> None:
    user = _owner_of(deposit.address, deposit.chain_id)
    deposit.user = user
    deposit.state = Deposit.State.CREDITED if user else Deposit.State.UNASSIGNED
    debt = _take_over_debt(deposit) if user else 0
    target = user_account(user, Kind.SPENDABLE) if user else system_account(Kind.UNASSIGNED)
    deposit.transaction = post(
        key=f"deposit:{deposit.place_key}",
        kind="deposit",
        legs=[
            (system_account(Kind.CUSTODY), -deposit.amount_wei),
            (target, deposit.amount_wei - debt),
            (system_account(Kind.REORG_DEBT), debt),
        ],
        reason="Deposit" if user else "Deposit of an unlinked wallet",
    )
    deposit.save()


def _take_over_debt(deposit: Deposit) -> int:
    """What voided deposits of this address still owe pays itself back first; wei of it."""
    left = deposit.amount_wei
    owing = Deposit.objects.select_for_update().filter(
        chain_id=deposit.chain_id, address=deposit.address, debt_wei__gt=0
    )
    for earlier in owing.exclude(pk=deposit.pk).order_by("pk"):
        paid = min(left, earlier.debt_wei)
        Deposit.objects.filter(pk=earlier.pk).update(debt_wei=earlier.debt_wei - paid)
        left -= paid
    own = min(left, deposit.debt_wei)
    deposit.debt_wei -= own
    return int(deposit.amount_wei - left + own)


def void_deposit(deposit: Deposit) -> None:
    """Take back a deposit whose block left the chain; what is spent is owed by `reorg:debt`."""
    source = (
        user_account(deposit.user, Kind.SPENDABLE)
        if deposit.user
        else system_account(Kind.UNASSIGNED)
    )
    account = Account.objects.select_for_update().get(pk=source.pk)
    taken = min(deposit.amount_wei, account.available_wei)
    debt = deposit.amount_wei - taken
    post(
        key=f"void-deposit:{deposit.place_key}",
        kind="deposit_void",
        legs=[
            (system_account(Kind.CUSTODY), deposit.amount_wei),
            (account, -taken),
            (system_account(Kind.REORG_DEBT), -debt),
        ],
        reason="The block of this deposit left the chain",
    )
    # On top of what it owes from before: its wei may have paid for another one that vanished.
    deposit.state, deposit.debt_wei = Deposit.State.VOIDED, deposit.debt_wei + debt
    deposit.save(update_fields=["state", "debt_wei"])


def _unassigned_addresses_now_linked() -> list[str]:
    unassigned = Deposit.objects.filter(
        chain_id=settings.CHAIN_ID, state=Deposit.State.UNASSIGNED
    ).values_list("address", flat=True)
    if not unassigned:
        return []
    linked = Wallet.objects.filter(chain_id=settings.CHAIN_ID, unlinked_at__isnull=True)
    return list(linked.filter(address__in=set(unassigned)).values_list("address", flat=True))


def credit_unassigned(address: str) -> int:
    """Credit waiting deposits of an address to the person who linked it; return the wei.

    The watcher calls this for every address linked since; a link page may call it at once.
    """
    user = _owner_of(address, settings.CHAIN_ID)
    if user is None:
        return 0
    with transaction.atomic():
        waiting = Deposit.objects.select_for_update().filter(
            chain_id=settings.CHAIN_ID, address__iexact=address, state=Deposit.State.UNASSIGNED
        )
        total = 0
        for pk in list(waiting.order_by("pk").values_list("pk", flat=True)):
            # Each as the one before left it: that may have paid some of its debt.
            deposit = Deposit.objects.get(pk=pk)
            debt = _take_over_debt(deposit)
            post(
                key=f"assign-deposit:{deposit.place_key}",
                kind="deposit",
                legs=[
                    (system_account(Kind.UNASSIGNED), -deposit.amount_wei),
                    (user_account(user, Kind.SPENDABLE), deposit.amount_wei - debt),
                    (system_account(Kind.REORG_DEBT), debt),
                ],
                reason="Deposit made before the wallet was linked",
            )
            deposit.user, deposit.state = user, Deposit.State.CREDITED
            deposit.save(update_fields=["user", "state", "debt_wei"])
            total += deposit.amount_wei - debt
    return total
