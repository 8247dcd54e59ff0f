"""Votes on chain: the calls a proposal can make, the events of the governor, and where it stands.

The three contracts belong together: the governor counts, the timelock owns the parameters and the
treasury, the parameters are what votes change. Shares are basis points (1/10,000), times seconds
since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from web3 import Web3

from rewards.chain.calls import ContractCall, encode_call, transfer_call
from rewards.chain.client import BlockTag, ChainClient
from rewards.chain.contracts import Addresses
from rewards.chain.logs import address_in, data_of
from rewards.chain.records import LogPlace

WHOLE_BPS = 10_000
# Repeated from ProtocolParameters.sol, so that a form can refuse before a vote is spent on it.
HOLDING_SECONDS_MAX = 90 * 86_400
SLASHING_CAP_BPS_MAX = 5_000

_VALUES = ["uint16", "uint16", "uint16", "uint16", "uint32", "uint16"]
PARAMETER_CHANGED = f"ParameterChanged(uint64,uint64,({','.join(_VALUES)}))"
CURATOR_DECIDED = "CuratorDecided(bytes16,address,bool)"
PROPOSAL_CREATED = (
    "ProposalCreated(uint256,address,address[],uint256[],string[],bytes[],uint256,uint256,string)"
)
# `string` is read as bytes: anybody may write a proposal, and its text need not be UTF-8.
_PROPOSAL_DATA = [
    "uint256",
    "address",
    "address[]",
    "uint256[]",
    "bytes[]",
    "bytes[]",
    "uint256",
    "uint256",
    "bytes",
]


class Support(IntEnum):
    """How a vote is cast (OpenZeppelin GovernorCountingSimple)."""

    AGAINST = 0
    FOR = 1
    ABSTAIN = 2


class ProposalState(IntEnum):
    """Where a proposal stands (OpenZeppelin IGovernor)."""

    PENDING = 0
    ACTIVE = 1
    CANCELED = 2
    DEFEATED = 3
    SUCCEEDED = 4
    QUEUED = 5
    EXPIRED = 6
    EXECUTED = 7


@dataclass(frozen=True)
class ParameterValues:
    """All governed numbers of one version."""

    contributors_bps: int
    builder_bps: int
    stakers_bps: int
    platform_bps: int
    holding_seconds: int
    slashing_cap_bps: int

    def as_tuple(self) -> tuple[int, ...]:
        return (
            self.contributors_bps,
            self.builder_bps,
            self.stakers_bps,
            self.platform_bps,
            self.holding_seconds,
            self.slashing_cap_bps,
        )


@dataclass(frozen=True)
class ParameterEvent:
    """A new version of the governed numbers, in force from no epoch before ``from_epoch``."""

    version: int
    from_epoch: int
    values: ParameterValues
    place: LogPlace


@dataclass(frozen=True)
class CuratorEvent:
    """A vote made ``account`` a curator of a Datanet (its UUID as hex), or ended that."""

    datanet: str
    account: str
    is_curator: bool
    place: LogPlace


@dataclass(frozen=True)
class ProposalEvent:
    """A proposal as it was made; ``description`` is the raw text, whose hash names it."""

    proposal_id: int
    proposer: str
    targets: tuple[str, ...]
    values_wei: tuple[int, ...]
    calldatas: tuple[bytes, ...]
    vote_start: int
    vote_end: int
    description: bytes
    place: LogPlace

    @property
    def description_hash(self) -> str:
        return Web3.to_hex(Web3.keccak(self.description))


@dataclass(frozen=True)
class ProposalReading:
    """A proposal at one block; ``executable_at`` is 0 before it is queued."""

    state: ProposalState
    against_wei: int
    for_wei: int
    abstain_wei: int
    quorum_wei: int
    executable_at: int


@dataclass(frozen=True)
class GovernorReading:
    """The rules and the treasury at one block."""

    voting_delay_seconds: int
    voting_period_seconds: int
    proposal_threshold_wei: int
    quorum_wei: int
    quorum_floor_wei: int
    timelock_delay_seconds: int
    treasury_wei: int
    supply_wei: int


@dataclass(frozen=True)
class VotingPowerReading:
    """What an account holds, who votes with it, and how many votes it casts itself."""

    balance_wei: int
    votes_wei: int
    delegate: str


# What a proposal can do


def set_fee_split_call(parameters: str, shares_bps: Sequence[int]) -> ContractCall:
    """Contributors, builder, stakers, platform; together ``WHOLE_BPS``."""
    return encode_call(parameters, "setFeeSplit(uint16,uint16,uint16,uint16)", *shares_bps)


def set_holding_call(parameters: str, seconds: int) -> ContractCall:
    """How long earnings wait for a refund."""
    return encode_call(parameters, "setHoldingSeconds(uint32)", seconds)


def set_slashing_cap_call(parameters: str, cap_bps: int) -> ContractCall:
    """The largest share of a stake that one slash may take."""
    return encode_call(parameters, "setSlashingCap(uint16)", cap_bps)


def decide_curator_call(
    parameters: str, datanet: bytes, account: str, is_curator: bool
) -> ContractCall:
    """Appoints a curator of a public Datanet (16 bytes of its UUID), or ends it."""
    return encode_call(
        parameters, "decideCurator(bytes16,address,bool)", datanet, account, is_curator
    )


treasury_transfer_call = transfer_call


# What people do


def delegate_call(token: str, delegatee: str) -> ContractCall:
    """Gives the sender's votes to ``delegatee``; to itself, to vote with its own OPEN."""
    return encode_call(token, "delegate(address)", delegatee)


def propose_vote_call(
    governor: str, actions: Sequence[ContractCall], description: str
) -> ContractCall:
    """Proposes calls of the timelock under a text."""
    signature = "propose(address[],uint256[],bytes[],string)"
    return encode_call(governor, signature, *_parts(actions), description)


def cast_vote_call(governor: str, proposal_id: int, support: Support) -> ContractCall:
    return encode_call(governor, "castVote(uint256,uint8)", proposal_id, int(support))


def queue_proposal_call(
    governor: str, actions: Sequence[ContractCall], description: str
) -> ContractCall:
    """Puts a carried proposal into the timelock; by anyone."""
    return _with_hash(governor, "queue", actions, description)


def execute_proposal_call(
    governor: str, actions: Sequence[ContractCall], description: str
) -> ContractCall:
    """Carries a queued proposal out after the delay; by anyone."""
    return _with_hash(governor, "execute", actions, description)


def _with_hash(
    governor: str, verb: str, actions: Sequence[ContractCall], description: str
) -> ContractCall:
    signature = f"{verb}(address[],uint256[],bytes[],bytes32)"
    digest = bytes(Web3.keccak(text=description))
    return encode_call(governor, signature, *_parts(actions), digest)


def _parts(actions: Sequence[ContractCall]) -> tuple[list[str], list[int], list[bytes]]:
    targets = [action.to or "" for action in actions]
    return targets, [action.value_wei for action in actions], [action.data for action in actions]


def proposal_id_of(actions: Sequence[ContractCall], description: str) -> int:
    """What the governor will call a proposal (IGovernor.hashProposal)."""
    digest = bytes(Web3.keccak(text=description))
    encoded = encode(["address[]", "uint256[]", "bytes[]", "bytes32"], [*_parts(actions), digest])
    return int.from_bytes(Web3.keccak(encoded))


# Events


def parameter_events(
    client: ChainClient, addresses: Addresses, first: int, last: int
) -> list[ParameterEvent]:
    """New versions of the governed numbers in both-inclusive blocks, in chain order."""
    found: list[ParameterEvent] = []
    for log, place in client.logs(addresses.parameters, PARAMETER_CHANGED, first, last):
        version, from_epoch = (int(log["topics"][index], 16) for index in (1, 2))
        values = ParameterValues(*decode(_VALUES, data_of(log)))
        found.append(ParameterEvent(version, from_epoch, values, place))
    return found


def curator_events(
    client: ChainClient, addresses: Addresses, first: int, last: int
) -> list[CuratorEvent]:
    """Decisions on curators in both-inclusive blocks, in chain order."""
    found: list[CuratorEvent] = []
    for log, place in client.logs(addresses.parameters, CURATOR_DECIDED, first, last):
        (is_curator,) = decode(["bool"], data_of(log))
        datanet, account = (
            log["topics"][1][2:34],
            address_in(log, 2),
        )
        found.append(CuratorEvent(datanet, account, is_curator, place))
    return found


def proposal_events(
    client: ChainClient, addresses: Addresses, first: int, last: int
) -> list[ProposalEvent]:
    """Proposals made in both-inclusive blocks, in chain order."""
    found: list[ProposalEvent] = []
    for log, place in client.logs(addresses.governor, PROPOSAL_CREATED, first, last):
        given = decode(_PROPOSAL_DATA, data_of(log))
        found.append(
            ProposalEvent(
                proposal_id=given[0],
                proposer=to_checksum_address(given[1]),
                targets=tuple(to_checksum_address(target) for target in given[2]),
                values_wei=tuple(given[3]),
                calldatas=tuple(given[5]),
                vote_start=given[6],
                vote_end=given[7],
                description=given[8],
                place=place,
            )
        )
    return found


# Where things stand


def read_proposal(
    client: ChainClient, governor: str, proposal_id: int, vote_start: int, block: BlockTag
) -> ProposalReading:
    """A proposal at ``block``. Its state is asked of the next block where ``block`` is the newest:
    time moves a proposal on without any transaction, and a quiet chain makes no block for it."""

    def ask(signature: str, kinds: list[str], at: BlockTag = block) -> tuple[Any, ...]:
        return client.read(governor, signature, [proposal_id], kinds, at)

    state_at: BlockTag = "pending" if block == "latest" else block
    (state,) = ask("state(uint256)", ["uint8"], state_at)
    against, in_favour, abstain = ask("proposalVotes(uint256)", ["uint256"] * 3)
    (executable_at,) = ask("proposalEta(uint256)", ["uint256"])
    quorum_wei = 0
    if state != ProposalState.PENDING:  # the quorum is known once the vote has begun
        quorum_at = [vote_start]
        (quorum_wei,) = client.read(
            governor, "quorum(uint256)", list(quorum_at), ["uint256"], state_at
        )
    return ProposalReading(
        state=ProposalState(state),
        against_wei=against,
        for_wei=in_favour,
        abstain_wei=abstain,
        quorum_wei=quorum_wei,
        executable_at=executable_at,
    )


def read_governor(client: ChainClient, addresses: Addresses) -> GovernorReading:
    """The rules, the quorum a vote would need now, and the treasury, at the newest block."""

    def number(contract: str, signature: str, arguments: list[object] | None = None) -> int:
        return int(client.read(contract, signature, arguments or [], ["uint256"], "latest")[0])

    governor = addresses.governor
    newest = client.latest_block()
    return GovernorReading(
        voting_delay_seconds=number(governor, "votingDelay()"),
        voting_period_seconds=number(governor, "votingPeriod()"),
        proposal_threshold_wei=number(governor, "proposalThreshold()"),
        quorum_wei=number(governor, "quorum(uint256)", [newest.timestamp - 1]),
        quorum_floor_wei=number(governor, "quorumFloor()"),
        timelock_delay_seconds=number(addresses.timelock, "getMinDelay()"),
        treasury_wei=client.balance_of(addresses.token, addresses.timelock),
        supply_wei=number(addresses.token, "totalSupply()"),
    )


def read_voting_power(client: ChainClient, token: str, account: str) -> VotingPowerReading:
    """Balance, own votes and delegate of an account at the newest block."""
    votes = client.read(token, "getVotes(address)", [account], ["uint256"], "latest")[0]
    delegate = client.read(token, "delegates(address)", [account], ["address"], "latest")[0]
    return VotingPowerReading(
        balance_wei=client.balance_of(token, account),
        votes_wei=votes,
        delegate=to_checksum_address(delegate),
    )
