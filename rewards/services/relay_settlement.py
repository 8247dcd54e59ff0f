"""Network fees paid in OPEN: held out of a deposit when it is credited, taken when all is final.

A relay's row is locked before the account that pays for it. The watcher touches only rows whose
fee is not held yet, the settlement only those whose fee is, so the two never wait for each other.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Now

from rewards.models import Account, ChainCursor, ChainTransaction, Deposit, Hold, Relay
from rewards.services.ledger import (
    lock_accounts,
    place_hold,
    post,
    system_account,
    user_account,
    void_hold,
)

Kind = Account.Kind
State = Relay.State
# A transaction that waits for a lower gas price may be mined late, and is paid for all the same.
HOLD_SECONDS = 365 * 86_400


def hold_fee_of(deposit: Deposit, nonce: str) -> None:
    """Reserve the fee of a deposit that pays for itself; in the transaction that credits it."""
    relay = (
        Relay.objects.select_for_update()
        .filter(
            chain_id=deposit.chain_id,
            account=deposit.address,
            authorization_nonce=nonce,
            hold=None,
            state=State.PENDING,
            user=deposit.user,
        )
        .first()
    )
    if relay is None or deposit.user is None:
        return
    account = lock_accounts([user_account(deposit.user, Kind.SPENDABLE).pk]).popitem()[1]
    amount_wei = min(int(relay.quoted_wei), account.available_wei)
    if amount_wei <= 0:
        return
    relay.hold = place_hold(
        deposit.user,
        amount_wei,
        key=f"relay:{relay.quote_digest}",
        reason="Network fee",
        expires_in_seconds=HOLD_SECONDS,
    )
    relay.save(update_fields=["hold"])


def settle_relays() -> int:
    """Take what each ended transaction did cost; return how many."""
    ended = Relay.objects.filter(
        state=State.PENDING, chain_transaction__state__in=ChainTransaction.ENDED
    )
    return sum(_settle(pk) for pk in ended.order_by("pk").values_list("pk", flat=True))


def _settle(relay_id: int) -> int:
    with transaction.atomic():
        relay = (
            Relay.objects.select_for_update(of=("self",))
            .select_related("chain_transaction", "hold__account")
            .filter(_can_be_settled(), pk=relay_id, state=State.PENDING)
            .first()
        )
        if relay is None:
            return 0
        _end(relay, relay.chain_transaction)
        return 1


def _can_be_settled() -> Q:
    """Its fee is held, or can never be: the watcher is past its block, or it was never sent."""
    reached = ChainCursor.objects.filter(chain_id=OuterRef("chain_id")).values("block_number")
    past = Q(chain_transaction__block_number__lte=Subquery(reached))
    return Q(hold__isnull=False) | past | Q(chain_transaction__gas_used=None)


def _end(relay: Relay, row: ChainTransaction) -> None:
    gas_used, price_wei = int(row.gas_used or 0), int(row.gas_price_wei or 0)
    relay.gas_cost_wei = gas_used * price_wei
    relay.cost_wei = relay.terms.cost_wei(gas_used, price_wei)
    relay.fee_wei = 0
    if relay.hold is not None:
        relay.fee_wei = min(int(relay.cost_wei), int(relay.hold.amount_wei))
        _pay(relay, relay.hold)
    if row.state == ChainTransaction.State.FINAL:
        relay.state = State.DONE
    else:
        relay.state = State.REVERTED if gas_used else State.DROPPED
    relay.ended_at = Now()
    relay.save()


def _pay(relay: Relay, hold: Hold) -> None:
    if not relay.fee_wei:
        void_hold(hold)
        return
    relay.transaction = post(
        key=f"relay:{relay.public_id}",
        kind="relay",
        legs=[(hold.account, -relay.fee_wei), (system_account(Kind.RELAY), relay.fee_wei)],
        reason=f"Network fee of a {relay.get_action_display()}",
        hold=hold,
    )
