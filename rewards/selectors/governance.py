"""Reads for the pages of votes. Proposals and rules are public; voting power is one's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone

from openledger_site.accounts.models import User
from rewards.models import (
    GovernanceReading,
    Proposal,
    SplitParameters,
    VotingPower,
)
from rewards.selectors.money import wallet_addresses_of
from rewards.selectors.parameters import slashing_cap_bps, split_parameters

STALE_SECONDS = 60
State = Proposal.State


@dataclass(frozen=True)
class Moment:
    """One step of a proposal: `tone` is good, bad, live, or empty for what is still to come."""

    label: str
    at: datetime | None
    tone: str


@dataclass(frozen=True)
class ParametersInForce:
    """The split now, the one that comes, and the cap of a slash, which counts at once."""

    now: SplitParameters
    coming: SplitParameters | None
    slashing_cap_bps: int

    @property
    def shares(self) -> list[dict[str, object]]:
        return split_shares(self.now)


def split_shares(row: SplitParameters) -> list[dict[str, object]]:
    """For `share_bar`."""
    return [
        {"label": "Contributors", "value": row.contributors_ppm},
        {"label": "Builder", "value": row.builder_ppm},
        {"label": "Stakers", "value": row.stakers_ppm},
        {"label": "Platform", "value": row.platform_ppm},
    ]


def proposals() -> QuerySet[Proposal]:
    """All that stand on this chain, newest first."""
    on_chain = Proposal.objects.filter(chain_id=settings.CHAIN_ID)
    return on_chain.exclude(state=State.VOIDED).order_by("-vote_start", "-pk")


def proposal_by(public_id: UUID) -> Proposal:
    proposal = Proposal.objects.filter(public_id=public_id).first()
    if proposal is None:
        raise Http404("No such proposal.")
    return proposal


def proposal_of_transaction(transaction_hash: str) -> Proposal | None:
    return proposals().filter(transaction_hash=transaction_hash).first()


def last_reading() -> GovernanceReading | None:
    return GovernanceReading.objects.filter(chain_id=settings.CHAIN_ID).first()


def reading_is_stale(reading: GovernanceReading | None) -> bool:
    """Whether the chain has not answered for a minute, or said no at the last try."""
    if reading is None or reading.read_at is None or reading.problem:
        return True
    return reading.read_at < timezone.now() - timedelta(seconds=STALE_SECONDS)


def parameters_in_force() -> ParametersInForce:
    now = split_parameters()
    later = SplitParameters.objects.exclude(change__state="voided").filter(version__gt=now.version)
    return ParametersInForce(
        now=now,
        coming=later.order_by("-version").first(),
        slashing_cap_bps=slashing_cap_bps(),
    )


def voting_power_of(user: User) -> list[VotingPower]:
    """The last reading of each wallet that this person has linked."""
    addresses = wallet_addresses_of(user)
    known = VotingPower.objects.filter(chain_id=settings.CHAIN_ID, address__in=addresses)
    return list(known.order_by("address"))


def timeline_of(proposal: Proposal) -> list[Moment]:
    """The way of a proposal, from its block to its end, as far as it is known."""
    state = State(proposal.state)
    if state == State.CANCELED:
        return [Moment("Taken back", proposal.state_since, "bad")]
    moments = [
        Moment("Voting begins", proposal.vote_start, "" if state == State.PENDING else "good"),
        Moment("Voting ends", proposal.vote_end, _ended_tone(state)),
    ]
    if state == State.DEFEATED:
        return [*moments, Moment("Defeated", proposal.vote_end, "bad")]
    passed = (State.SUCCEEDED, State.QUEUED, State.EXECUTED, State.EXPIRED)
    moments.append(Moment("Carried", proposal.vote_end, "good" if state in passed else ""))
    queued = (State.QUEUED, State.EXECUTED)
    moments.append(
        Moment("Can be carried out", proposal.executable_at, "good" if state in queued else "")
    )
    done = state == State.EXECUTED
    moments.append(
        Moment("Carried out", proposal.state_since if done else None, "good" if done else "")
    )
    return moments


def _ended_tone(state: Proposal.State) -> str:
    if state == State.PENDING:
        return ""
    return "live" if state == State.ACTIVE else "good"
