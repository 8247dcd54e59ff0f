"""Payouts of the distributor, booked from its events: claimable becomes OPEN in a wallet."""

from __future__ import annotations

from rewards.chain.records import ClaimEvent
from rewards.models import Account, Claim, EpochPayout
from rewards.services.ledger import Leg, post, system_account, user_account

Kind = Account.Kind


def book_claim(event: ClaimEvent, chain_id: int) -> bool:
    """Book one claim; False when it is booked already.

    A claim up to a cumulative amount pays every payout of that address up to it, so who earned it
    is known even if the wallet has changed hands since. One that fits no payout of ours is kept as
    `unknown`, which reconcile reports.
    """
    place = event.place
    claim = Claim.objects.filter(
        chain_id=chain_id,
        transaction_hash=place.transaction_hash,
        log_index=place.log_index,
        block_hash=place.block_hash,
    ).first()
    if claim is None:
        claim = Claim(
            chain_id=chain_id,
            transaction_hash=place.transaction_hash,
            log_index=place.log_index,
            block_number=place.block_number,
            block_hash=place.block_hash,
            address=event.account,
            amount_wei=event.amount_wei,
            cumulative_wei=event.cumulative_amount_wei,
            root=event.root,
        )
    elif claim.state != Claim.State.VOIDED:
        return False
    else:
        claim.applications += 1
    _apply(claim)
    return True


def _apply(claim: Claim) -> None:
    payouts = list(
        EpochPayout.objects.select_for_update(of=("self",))
        .select_related("user")
        .filter(
            address__iexact=claim.address,
            epoch__chain_id=claim.chain_id,
            claim__isnull=True,
            cumulative_wei__lte=claim.cumulative_wei,
        )
        .order_by("epoch_id")
    )
    if sum(payout.amount_wei for payout in payouts) != claim.amount_wei:
        claim.state, claim.transaction = Claim.State.UNKNOWN, None
        claim.save()
        return
    legs: list[Leg] = [(system_account(Kind.CUSTODY), claim.amount_wei)]
    legs += [(user_account(payout.user, Kind.CLAIMABLE), -payout.amount_wei) for payout in payouts]
    claim.state = Claim.State.PAID
    claim.transaction = post(
        key=f"claim:{claim.place_key}", kind="claim", legs=legs, reason="Claimed on chain"
    )
    claim.save()
    EpochPayout.objects.filter(pk__in=[payout.pk for payout in payouts]).update(claim=claim)


def void_claim(claim: Claim) -> None:
    """Undo a claim whose block left the chain: it is claimable again."""
    if claim.transaction is not None:
        entries = claim.transaction.entries.select_related("account")
        post(
            key=f"void-claim:{claim.place_key}",
            kind="claim_void",
            legs=[(entry.account, -entry.amount_wei) for entry in entries],
            reason="The block of this claim left the chain",
        )
        EpochPayout.objects.filter(claim=claim).update(claim=None)
    claim.state, claim.transaction = Claim.State.VOIDED, None
    claim.save(update_fields=["state", "transaction"])
