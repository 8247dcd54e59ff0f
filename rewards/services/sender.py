"""Our own transactions: queued in the books' transaction, signed, stored, sent, followed.

One process at a time signs for a key. A row gets its nonce and its signed bytes in one commit and
is broadcast after it, so a crash at any point leads to the same bytes being sent again. Nothing
is ever signed twice for one nonce except a replacement with higher fees, of which one can be mined.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max, QuerySet
from django.db.models.functions import Now
from eth_utils.crypto import keccak

from rewards.chain import calls, staking
from rewards.chain.assets import register_asset_call
from rewards.chain.authorizations import TransferAuthorization
from rewards.chain.calls import ContractCall
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.errors import CallReverted, RejectionReason, TransactionRejected
from rewards.chain.records import Receipt
from rewards.chain.reputation import Measure, burn_reputation_call, write_reputation_call
from rewards.chain.signatures import Signature
from rewards.chain.transactions import Fees, SignedTransaction, Signer
from rewards.chain.vesting import grant_call, release_call
from rewards.models import ChainTransaction
from rewards.selectors.money import payout_freeze
from rewards.services.chain import (
    SENDER_LOCK,
    chain_client,
    contract_addresses,
    only_runner,
    operator_signer,
    relay_signer,
)
from rewards.vesting import Schedule

logger = logging.getLogger(__name__)
State = ChainTransaction.State

STUCK_SECONDS = 60
REPLACEMENTS_MAX = 5
SIGNED_AT_ONCE = 20
# The chain's clock runs behind ours: the call stays queued and is tried in the next round.
NOT_YET = ("ChallengeDelayRunning", "AppealWindowOpen", "NotAMeasure", "EnforcedPause")
# While a contract says this, nothing of that purpose can pass: the others need not be tried.
PAUSED = "EnforcedPause"
# What leaves custody waits while payouts are frozen, also what was queued before.
HELD_WHILE_FROZEN = "withdraw"
# The contracts take each of these once: an earlier try of ours went through.
ALREADY_DONE = ("AlreadyProcessed", "AlreadyAnchored")
DONE_BEFORE = "Done before by an earlier transaction."
FEES_ROSE = "The network fee rose above what was quoted. Nothing was sent."
# The purpose of a transaction that a person pays for in OPEN: its own key sends it, and neither gas
# nor price may exceed what was quoted.
RELAYED = "relay"


def on_chain_id(subject: str) -> bytes:
    """The 32 bytes that stand for a subject in our contracts: keccak-256 of its UTF-8 text."""
    return bytes(keccak(text=subject))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _root(arguments: dict[str, Any]) -> bytes:
    return _bytes(arguments["root"])


def authorized_transfer(at: Addresses, given: dict[str, Any]) -> ContractCall:
    """The call of a payment by signature, from arguments as they are stored."""
    authorization = TransferAuthorization(
        payer=given["payer"],
        to=given["to"],
        amount_wei=int(given["amount_wei"]),
        valid_after=given["valid_after"],
        valid_before=given["valid_before"],
        nonce=given["nonce"],
    )
    signature = Signature.parse(given["signature"])
    return calls.authorized_transfer_call(at.token, authorization, signature)


# What each purpose calls, from arguments that JSON can hold (wei as text).
CALLS: dict[str, Callable[[Addresses, str, dict[str, Any]], ContractCall]] = {
    "anchor": lambda at, subject, given: calls.anchor_call(
        at.anchors, _root(given), on_chain_id(subject.rpartition(":")[0]), given["count"]
    ),
    "fund": lambda at, subject, given: calls.fund_call(
        at.escrow, int(given["amount_wei"]), on_chain_id(subject)
    ),
    "propose": lambda at, subject, given: calls.propose_call(
        at.distributor,
        _root(given),
        int(given["total_wei"]),
        bytes.fromhex(given["leaf_file"]),
        given["epoch"],
    ),
    "activate": lambda at, subject, given: calls.activate_call(at.distributor, _root(given)),
    "withdraw": lambda at, subject, given: calls.withdraw_call(
        at.escrow, given["to"], int(given["amount_wei"]), on_chain_id(subject)
    ),
    "approve": lambda at, subject, given: calls.approve_call(
        at.token, given["spender"], int(given["amount_wei"])
    ),
    "income": lambda at, subject, given: staking.add_income_call(
        at.staking, _bytes(given["target"]), int(given["amount_wei"])
    ),
    "slash": lambda at, subject, given: staking.announce_slash_call(
        at.staking, _bytes(given["target"]), int(given["amount_wei"]), _bytes(given["evidence"])
    ),
    "overturn-slash": lambda at, subject, given: staking.overturn_slash_call(
        at.staking, _bytes(given["target"])
    ),
    "execute-slash": lambda at, subject, given: staking.execute_slash_call(
        at.staking, _bytes(given["target"])
    ),
    "mint": lambda at, subject, given: calls.mint_call(
        at.token, given["account"], int(given["amount_wei"])
    ),
    "reputation": lambda at, subject, given: write_reputation_call(
        at.reputation,
        given["holder"],
        Measure(given["score"], given["formula"], given["measured_at"]),
    ),
    "burn-reputation": lambda at, subject, given: burn_reputation_call(
        at.reputation, given["holder"]
    ),
    "asset": lambda at, subject, given: register_asset_call(
        at.assets,
        given["to"],
        _bytes(given["token_id"]),
        _bytes(given["metadata_digest"]),
        given["royalty_bps"],
    ),
    "grant": lambda at, subject, given: grant_call(
        at.vesting,
        on_chain_id(subject),
        given["beneficiary"],
        int(given["amount_wei"]),
        Schedule(given["start"], given["cliff_seconds"], given["duration_seconds"]),
    ),
    "release": lambda at, subject, given: release_call(given["wallet"], at.token),
    "x402": lambda at, subject, given: authorized_transfer(at, given),
    # What a person signed, made into a call when it was quoted and simulated.
    RELAYED: lambda at, subject, given: ContractCall(given["to"], _bytes(given["data"])),
    "native": lambda at, subject, given: calls.transfer_native_call(
        given["account"], int(given["amount_wei"])
    ),
}


def queue_transaction(purpose: str, *, subject: str, **arguments: Any) -> ChainTransaction:
    """Queue a transaction, once per purpose and subject; a failed one may be queued again."""
    if purpose not in CALLS:
        raise LookupError(f"No call for the purpose {purpose}.")
    same = {"chain_id": settings.CHAIN_ID, "purpose": purpose, "subject": subject}
    try:
        with transaction.atomic():
            return ChainTransaction.objects.create(arguments=arguments, **same)
    except IntegrityError:
        return ChainTransaction.objects.exclude(state=State.FAILED).get(**same)


def send_transactions() -> int | None:
    """One round: follow what is out, sign what is queued, send it. Returns how many are unfinished.

    None when another process is at it. Raises `ChainError` when the chain is away.
    """
    with only_runner(SENDER_LOCK) as alone:
        return send_round() if alone else None


def send_round() -> int:
    """As `send_transactions`; the caller holds the sender's lock."""
    client, addresses = chain_client(), contract_addresses()
    mine = ChainTransaction.objects.filter(chain_id=settings.CHAIN_ID)
    _round_of(client, operator_signer(), addresses, mine.exclude(purpose=RELAYED))
    if relayer := relay_signer():
        _round_of(client, relayer, addresses, mine.filter(purpose=RELAYED))
    return mine.exclude(state__in=ChainTransaction.ENDED).count()


def _round_of(
    client: ChainClient, signer: Signer, addresses: Addresses, mine: QuerySet[ChainTransaction]
) -> None:
    _send_again_what_the_chain_lost(client, signer, mine)
    _follow(client, signer, mine)
    for row in mine.filter(state=State.SIGNED).order_by("nonce"):
        if not _broadcast(client, row) and row.sender == signer.address:
            _replace(client, signer, row)
    _send_queued(client, signer, addresses, mine)


def _send_queued(
    client: ChainClient, signer: Signer, addresses: Addresses, mine: QuerySet[ChainTransaction]
) -> None:
    """Oldest first, so many a round. What has to wait keeps nothing behind it waiting."""
    resting: set[str] = set()
    if payout_freeze():
        resting.add(HELD_WHILE_FROZEN)
    signed = 0
    for row in mine.filter(state=State.QUEUED).order_by("pk").iterator(SIGNED_AT_ONCE):
        if row.purpose in resting:
            continue
        if _sign(client, signer, addresses, row):
            _broadcast(client, row)
            signed += 1
        elif row.state == State.QUEUED and PAUSED in row.problem:
            resting.add(row.purpose)
        if signed == SIGNED_AT_ONCE:
            return


def _sign(client: ChainClient, signer: Signer, addresses: Addresses, row: ChainTransaction) -> bool:
    """Whether it has its bytes now. The chain is asked without a lock on the row."""
    try:
        call = CALLS[row.purpose](addresses, row.subject, row.arguments)
        gas_limit = client.estimate_gas(signer.address, call)
    except CallReverted as refusal:
        # What somebody signed for a while does not wait: it fails, and its fee comes back.
        if refusal.error_name in NOT_YET and row.purpose != RELAYED:
            if row.problem != str(refusal):
                _end_queued(row, State.QUEUED, problem=str(refusal))
            return False
        done = refusal.error_name in ALREADY_DONE
        _end_queued(row, State.FAILED, problem=DONE_BEFORE if done else str(refusal))
        return False
    market, cap_wei = client.estimate_fees(), _price_cap_wei(row)
    fees = market.under(cap_wei) if cap_wei else market
    if fees is None or gas_limit > row.arguments.get("gas_limit", gas_limit):
        _end_queued(row, State.FAILED, problem=FEES_ROSE)
        return False
    nonce = _next_nonce(client, signer)
    with transaction.atomic():
        if not _is_still_queued(row):
            return False  # the bytes were never made, and the next row gets the nonce
        _store(row, signer.sign(call, nonce=nonce, gas_limit=gas_limit, fees=fees))
    return True


def _is_still_queued(row: ChainTransaction) -> bool:
    """Nobody cancelled it since it was read, nor can until the caller's transaction ends."""
    rows = ChainTransaction.objects.select_for_update().filter(pk=row.pk, state=State.QUEUED)
    return rows.first() is not None


def _end_queued(row: ChainTransaction, state: State, problem: str) -> None:
    with transaction.atomic():
        if _is_still_queued(row):
            _end(row, state, problem)


def _price_cap_wei(row: ChainTransaction) -> int:
    """The most that a unit of gas may cost for this row; 0 when the market decides."""
    return int(row.arguments.get("max_fee_per_gas_wei", 0))


def _next_nonce(client: ChainClient, signer: Signer) -> int:
    ours = ChainTransaction.objects.filter(chain_id=signer.chain_id, sender=signer.address)
    last = ours.aggregate(last=Max("nonce"))["last"]
    on_chain = client.transaction_count(signer.address, "latest")
    return max(on_chain, -1 if last is None else last + 1)


def _store(row: ChainTransaction, signed: SignedTransaction) -> None:
    """Commit the signed bytes; only then may they leave."""
    if row.transaction_hash:
        row.earlier_hashes = [*row.earlier_hashes, row.transaction_hash]
    row.state, row.sender, row.nonce = State.SIGNED, signed.sender, signed.nonce
    row.raw, row.transaction_hash = signed.raw, signed.transaction_hash
    row.fields = {
        "to": signed.to,
        "data": signed.data.hex(),
        "value_wei": str(signed.value_wei),
        "gas_limit": signed.gas_limit,
        "max_fee_per_gas_wei": str(signed.fees.max_fee_per_gas_wei),
        "max_priority_fee_per_gas_wei": str(signed.fees.max_priority_fee_per_gas_wei),
    }
    row.save()


def _signed(row: ChainTransaction) -> SignedTransaction:
    fields = row.fields
    return SignedTransaction(
        chain_id=row.chain_id,
        sender=row.sender,
        nonce=int(row.nonce or 0),
        to=fields["to"],
        data=bytes.fromhex(fields["data"]),
        value_wei=int(fields["value_wei"]),
        gas_limit=fields["gas_limit"],
        fees=Fees(int(fields["max_fee_per_gas_wei"]), int(fields["max_priority_fee_per_gas_wei"])),
        raw=bytes(row.raw),
        transaction_hash=row.transaction_hash,
    )


def _broadcast(client: ChainClient, row: ChainTransaction) -> bool:
    """False where the node wants higher fees: until then this nonce holds up all after it."""
    try:
        client.send_raw(bytes(row.raw))
    except TransactionRejected as refusal:
        # A used nonce means that this row or a replacement of it was mined: `_follow` will see it.
        if refusal.reason is not RejectionReason.NONCE_TOO_LOW:
            logger.warning("transaction refused by the node: %s %s", row.pk, refusal)
            ChainTransaction.objects.filter(pk=row.pk).update(problem=str(refusal)[:200])
            return refusal.reason is not RejectionReason.UNDERPRICED
    if row.state != State.FAILED:  # a failed one is only sent again to fill its nonce
        ChainTransaction.objects.filter(pk=row.pk).update(
            state=State.SENT, sent_at=Now(), problem=""
        )
    return True


def _follow(client: ChainClient, signer: Signer, mine: QuerySet[ChainTransaction]) -> None:
    rows = mine.filter(state__in=[State.SENT, State.MINED])
    final_number = client.finalized_block().number
    final_count = client.transaction_count(signer.address, final_number)
    stuck_before = rows.filter(sent_at__lt=Now() - timedelta(seconds=STUCK_SECONDS))
    stuck = set(stuck_before.values_list("pk", flat=True))
    for row in rows.order_by("nonce"):
        receipt = _receipt(client, row)
        if receipt is not None:
            _book_receipt(row, receipt, final_number)
        elif row.sender == signer.address and int(row.nonce or 0) < final_count:
            _queue_again(row)
        elif row.pk in stuck and row.sender == signer.address:
            _replace(client, signer, row)


def _receipt(client: ChainClient, row: ChainTransaction) -> Receipt | None:
    for transaction_hash in (row.transaction_hash, *row.earlier_hashes):
        receipt = client.receipt(transaction_hash)
        # A node may remember the receipt of a block that a reorganisation took away.
        if receipt is not None and client.block_hash(receipt.block_number) == receipt.block_hash:
            return receipt
    return None


def _book_receipt(row: ChainTransaction, receipt: Receipt, final_number: int) -> None:
    row.transaction_hash = receipt.transaction_hash
    row.block_number, row.block_hash = receipt.block_number, receipt.block_hash
    row.gas_used, row.gas_price_wei = receipt.gas_used, receipt.effective_gas_price_wei
    is_final = receipt.block_number <= final_number
    if receipt.is_success:
        _end(row, State.FINAL if is_final else State.MINED)
    elif is_final:
        _end(row, State.FAILED, problem="The contract refused it in its block.")
    else:  # not done, and a reorganisation may still let it pass: MINED would say that it went well
        _end(row, State.SENT, problem="The contract refused it; waiting for finality.")


def _end(row: ChainTransaction, state: State, problem: str = "") -> None:
    row.state, row.problem = state, problem[:200]
    row.save()


def _queue_again(row: ChainTransaction) -> None:
    """Another program used our key and this nonce for good: our bytes can never be mined."""
    logger.warning("nonce %s was used by another program: queued again: %s", row.nonce, row.pk)
    row.earlier_hashes = [*row.earlier_hashes, row.transaction_hash]
    row.nonce, row.transaction_hash = None, ""
    _end(row, State.QUEUED)


def _replace(client: ChainClient, signer: Signer, row: ChainTransaction) -> None:
    """Raise the fees of a stuck transaction, or send the same bytes again when raised enough."""
    if len(row.earlier_hashes) < REPLACEMENTS_MAX:
        replacement = signer.replace(_signed(row), client.estimate_fees())
        cap_wei = _price_cap_wei(row)
        if not cap_wei or replacement.fees.max_fee_per_gas_wei <= cap_wei:
            _store(row, replacement)
    _broadcast(client, row)


def _send_again_what_the_chain_lost(
    client: ChainClient, signer: Signer, mine: QuerySet[ChainTransaction]
) -> None:
    """After a dev chain lost its last blocks, our stored bytes fit its nonces again: send them."""
    on_chain = client.transaction_count(signer.address, "latest")
    lost = mine.filter(
        sender=signer.address,
        nonce__gte=on_chain,
        state__in=[State.MINED, State.FINAL, State.FAILED],
    )
    for row in lost.order_by("nonce"):
        logger.warning("transaction left the chain, sending it again: %s", row.pk)
        _broadcast(client, row)
