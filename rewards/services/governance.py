"""From the chain into the site: proposals, and what carried ones decided.

Called by the watcher for blocks that are final, so each event is booked once and undone when its
block leaves the chain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from django.db import transaction
from web3 import Web3

from openledger_site.accounts.models import User, Wallet
from openledger_site.core.errors import DomainError
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.governance import (
    CuratorEvent,
    ParameterEvent,
    ProposalEvent,
    curator_events,
    parameter_events,
    proposal_events,
)
from rewards.models import CuratorDecision, ParameterChange, Proposal
from rewards.services.chain_events import keep_event, void_left
from rewards.services.parameters import book_parameters

logger = logging.getLogger(__name__)
# After year 9999 a time cannot be shown; a governor's clock never gets there.
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
TITLE_LENGTH_MAX = 200
AppointCurator = Callable[[UUID, User, bool], None]
_appoint_curator: list[AppointCurator] = []


@dataclass(frozen=True)
class GovernanceEvents:
    """What the governance contracts said in a range of blocks."""

    proposals: list[ProposalEvent] = field(default_factory=list)
    parameters: list[ParameterEvent] = field(default_factory=list)
    curators: list[CuratorEvent] = field(default_factory=list)


def register_curator_appointment(function: AppointCurator) -> None:
    """Let the app that has Datanets carry a vote on a curator out; called once, at start."""
    _appoint_curator[:] = [function]


def governance_events(
    client: ChainClient, addresses: Addresses, first: int, last: int
) -> GovernanceEvents:
    """Read both-inclusive blocks; empty on a chain without these contracts."""
    if not addresses.has_governance:
        return GovernanceEvents()
    return GovernanceEvents(
        proposal_events(client, addresses, first, last),
        parameter_events(client, addresses, first, last),
        curator_events(client, addresses, first, last),
    )


def book_governance(events: GovernanceEvents, addresses: Addresses) -> None:
    """Book what is new; the caller holds a transaction open."""
    for proposal in events.proposals:
        _book_proposal(proposal, addresses)
    for change in events.parameters:
        book_parameters(change, addresses.chain_id, addresses.parameters)
    for decision in events.curators:
        _book_curator(decision, addresses.chain_id)


def void_governance(client: ChainClient, chain_id: int) -> list[int]:
    """Void what stands in blocks that left the chain; return the block of each row.

    A change of parameters is out of force by that; receipts that used it keep it.
    """
    voided = void_left(client, Proposal, chain_id, _void)
    voided += void_left(client, ParameterChange, chain_id, _void)
    voided += void_left(client, CuratorDecision, chain_id, _void)
    # What ended in a block that is gone has to be read again.
    Proposal.objects.filter(chain_id=chain_id).exclude(state="voided").update(is_settled=False)
    return voided


def _void(row: Proposal | ParameterChange | CuratorDecision) -> None:
    row.state = "voided"
    row.save(update_fields=["state"])


def _book_proposal(event: ProposalEvent, addresses: Addresses) -> None:
    text = event.description.decode("utf-8", "replace").replace("\0", "�")
    keep_event(
        Proposal,
        event.place,
        addresses.chain_id,
        standing=Proposal.State.PENDING,
        governor=addresses.governor,
        proposal_id=str(event.proposal_id),
        proposer=event.proposer,
        actions=_actions(event),
        title=_title(text),
        description=text,
        description_hash=event.description_hash,
        vote_start=_time(event.vote_start),
        vote_end=_time(event.vote_end),
    )


def _actions(event: ProposalEvent) -> list[dict[str, str]]:
    triples = zip(event.targets, event.values_wei, event.calldatas, strict=True)
    return [
        {"target": target, "value_wei": str(value_wei), "data": Web3.to_hex(data)}
        for target, value_wei, data in triples
    ]


def _title(text: str) -> str:
    """The first line of a proposal's text, without the mark of a heading."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.lstrip("# ").strip()[:TITLE_LENGTH_MAX] or "Without a title"


def _time(timestamp: int) -> datetime:
    return min(datetime.fromtimestamp(min(timestamp, int(LATEST.timestamp())), tz=UTC), LATEST)


def _book_curator(event: CuratorEvent, chain_id: int) -> None:
    keep_event(
        CuratorDecision,
        event.place,
        chain_id,
        standing=CuratorDecision.State.WAITING,
        datanet=UUID(event.datanet),
        account=event.account,
        is_curator=event.is_curator,
    )


def carry_out_decisions() -> int:
    """Appoint or end the curators that votes decided; return how many were dealt with.

    A wallet that nobody has linked waits until somebody does.
    """
    done = 0
    for decision in CuratorDecision.objects.filter(state=CuratorDecision.State.WAITING):
        wallet = Wallet.objects.select_related("user").filter(
            address__iexact=decision.account,
            chain_id=decision.chain_id,
            unlinked_at__isnull=True,
        )
        person = wallet.first()
        if person is None or not _appoint_curator:
            continue
        with transaction.atomic():
            locked = CuratorDecision.objects.select_for_update().get(pk=decision.pk)
            if locked.state != CuratorDecision.State.WAITING:
                continue
            _carry_out(locked, person.user)
            done += 1
    return done


def _carry_out(decision: CuratorDecision, user: User) -> None:
    try:
        with transaction.atomic():
            _appoint_curator[0](decision.datanet, user, decision.is_curator)
        decision.state, decision.outcome = CuratorDecision.State.DONE, ""
    except DomainError as refusal:
        decision.state = CuratorDecision.State.REFUSED
        decision.outcome = str(refusal)[:200]
    decision.save(update_fields=["state", "outcome"])
