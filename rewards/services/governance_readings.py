"""Where votes stand, read from the chain by a worker, so that no page has to ask a node.

A page shows the time of the last reading, and when the node does not answer, that it does not.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from openledger_site.accounts.models import Wallet
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.errors import CallReverted, ChainError, RpcFailure
from rewards.chain.governance import (
    ProposalReading,
    read_governor,
    read_proposal,
    read_voting_power,
)
from rewards.models import GovernanceReading, Proposal, VotingPower
from rewards.services.chain import chain_client, contract_addresses

logger = logging.getLogger(__name__)
WALLETS_AT_ONCE = 10
WALLET_READING_SECONDS = 10  # a wallet is read again no sooner than this
NOBODY = "0x" + "0" * 40


def read_governance() -> int | None:
    """Read rules, open proposals and voting power; the block read, None without the contracts.

    Raises `ChainError` when the chain is away, after writing that down for the pages.
    """
    addresses = contract_addresses()
    if not addresses.has_governance:
        return None
    try:
        return _read_all(chain_client(), addresses)
    except ChainError as problem:
        GovernanceReading.objects.update_or_create(
            chain_id=addresses.chain_id, defaults={"problem": str(problem)[:200]}
        )
        raise


def _read_all(client: ChainClient, addresses: Addresses) -> int:
    block = client.latest_block()
    rules = read_governor(client, addresses)
    unsettled = Proposal.objects.filter(chain_id=addresses.chain_id, is_settled=False)
    for proposal in unsettled.exclude(state=Proposal.State.VOIDED).order_by("-vote_start"):
        try:
            _read_one(client, proposal, block.number)
        except (CallReverted, RpcFailure) as problem:
            # Its block has just left the chain: the watcher is about to void it.
            logger.warning("proposal not read: %s %s", proposal.pk, problem)
    _read_wallets(client, addresses, block.number)
    GovernanceReading.objects.update_or_create(
        chain_id=addresses.chain_id,
        defaults={
            "governor": addresses.governor,
            **vars(rules),
            "read_block": block.number,
            "read_at": Now(),
            "problem": "",
        },
    )
    return block.number


def _read_one(client: ChainClient, proposal: Proposal, block_number: int) -> None:
    vote_start = int(proposal.vote_start.timestamp())
    number = int(proposal.proposal_id)
    reading = read_proposal(client, proposal.governor, number, vote_start, "latest")
    fields = _fields(reading) | {"read_at": Now(), "read_block": block_number}
    if fields["state"] in Proposal.ENDED:
        final = read_proposal(client, proposal.governor, number, vote_start, "finalized")
        fields["is_settled"] = _fields(final)["state"] == fields["state"]
    if fields["state"] != proposal.state:
        fields["state_since"] = Now()
    # Not over a row that the watcher voided in the meantime.
    standing = Proposal.objects.filter(pk=proposal.pk).exclude(state=Proposal.State.VOIDED)
    standing.update(**fields)


def _fields(reading: ProposalReading) -> dict[str, object]:
    at = reading.executable_at
    return {
        "state": Proposal.State[reading.state.name],
        "for_wei": reading.for_wei,
        "against_wei": reading.against_wei,
        "abstain_wei": reading.abstain_wei,
        "quorum_wei": reading.quorum_wei,
        "executable_at": datetime.fromtimestamp(at, tz=UTC) if at else None,
    }


def _read_wallets(client: ChainClient, addresses: Addresses, block_number: int) -> None:
    """The linked wallets that were not read for longest, some at a time."""
    chain_id = addresses.chain_id
    known = VotingPower.objects.filter(chain_id=chain_id, address=OuterRef("address"))
    linked = Wallet.objects.filter(chain_id=settings.CHAIN_ID, unlinked_at__isnull=True)
    fresh = list(linked.exclude(Exists(known)).values_list("address", flat=True)[:WALLETS_AT_ONCE])
    stale = VotingPower.objects.filter(
        chain_id=chain_id, read_at__lt=Now() - timedelta(seconds=WALLET_READING_SECONDS)
    )
    again = stale.filter(address__in=linked.values("address")).order_by("read_at")
    due = [*fresh, *again.values_list("address", flat=True)[:WALLETS_AT_ONCE]]
    for address in due[:WALLETS_AT_ONCE]:
        power = read_voting_power(client, addresses.token, address)
        VotingPower.objects.update_or_create(
            chain_id=chain_id,
            address=address,
            defaults={
                "balance_wei": power.balance_wei,
                "votes_wei": power.votes_wei,
                "delegate": "" if power.delegate == NOBODY else power.delegate,
                "read_block": block_number,
                "read_at": Now(),
            },
        )
