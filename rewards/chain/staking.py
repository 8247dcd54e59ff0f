"""Stakes on chain: the calls of stakers and of the site, the events, and where things stand.

A target is 32 bytes that stand for a Datanet, a model or an agent. Amounts are wei, times seconds
since 1970. The two formulas at the end repeat OpenStaking's own to the wei.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_utils.crypto import keccak
from web3 import Web3

from rewards.chain.calls import ContractCall, encode_call
from rewards.chain.client import BlockTag, ChainClient
from rewards.chain.logs import address_in, data_of
from rewards.chain.records import LogPlace

# Repeated from OpenStaking.sol.
INDEX_SCALE = 10**36
STAKE_MIN_WEI = 10**18


def target_id(subject: str) -> str:
    """The target that stands for a subject, e.g. `datanet:<id>`: keccak-256 as `0x` text."""
    return "0x" + bytes(keccak(text=subject)).hex()


@dataclass(frozen=True)
class StakingEvent:
    """One event of OpenStaking. `kind` is a `StakeEvent.Kind`; what an event lacks is empty."""

    kind: str
    target: str
    place: LogPlace
    account: str = ""
    amount_wei: int = 0
    shares: int = 0
    unbonding_number: int | None = None
    due_timestamp: int | None = None
    evidence: str = ""


@dataclass(frozen=True)
class TargetReading:
    """Both pools of a target, its income index, and the slash that waits (0 when none does)."""

    bonded_wei: int
    bonded_shares: int
    unbonding_wei: int
    unbonding_shares: int
    income_index: int
    slash_wei: int
    slash_evidence: str
    slash_executable_timestamp: int


@dataclass(frozen=True)
class PositionReading:
    """What one account has bonded on one target."""

    shares: int
    income_index: int
    income_owed_wei: int


@dataclass(frozen=True)
class RulesReading:
    """The contract's fixed times and its totals."""

    unbonding_seconds: int
    appeal_seconds: int
    total_staked_wei: int
    total_income_wei: int
    is_solvent: bool


# Calls


def stake_call(staking: str, target: bytes, amount_wei: int) -> ContractCall:
    """Stakes approved OPEN of the sender."""
    return encode_call(staking, "stake(bytes32,uint256)", target, amount_wei)


def start_unbonding_call(staking: str, target: bytes, shares: int) -> ContractCall:
    """Starts to take shares of the sender out."""
    return encode_call(staking, "startUnbonding(bytes32,uint256)", target, shares)


def take_out_call(staking: str, number: int) -> ContractCall:
    """Pays an unbonding of the sender out once its delay is over."""
    return encode_call(staking, "withdraw(uint256)", number)


def add_income_call(staking: str, target: bytes, amount_wei: int) -> ContractCall:
    """Pays approved OPEN of the sender to those bonded on a target now."""
    return encode_call(staking, "addIncome(bytes32,uint256)", target, amount_wei)


def collect_income_call(staking: str, target: bytes) -> ContractCall:
    """Pays the sender's income from a target out."""
    return encode_call(staking, "collectIncome(bytes32)", target)


def announce_slash_call(
    staking: str, target: bytes, amount_wei: int, evidence: bytes
) -> ContractCall:
    """Announces a slash by a decided dispute; by a slasher."""
    signature = "announceSlash(bytes32,uint256,bytes32)"
    return encode_call(staking, signature, target, amount_wei, evidence)


def overturn_slash_call(staking: str, target: bytes) -> ContractCall:
    """Drops a slash inside its appeal window; by an arbiter."""
    return encode_call(staking, "overturnSlash(bytes32)", target)


def execute_slash_call(staking: str, target: bytes) -> ContractCall:
    """Carries a slash out after its appeal window; by anyone."""
    return encode_call(staking, "executeSlash(bytes32)", target)


# Events


def _topic(log: dict[str, Any], index: int) -> str:
    return str(log["topics"][index])


def _words(log: dict[str, Any]) -> tuple[int, ...]:
    data = data_of(log)
    return tuple(decode(["uint256"] * (len(data) // 32), data))


def _staked(log: dict[str, Any]) -> dict[str, Any]:
    amount, shares = _words(log)
    return {"account": address_in(log, 2), "amount_wei": amount, "shares": shares}


def _moved(log: dict[str, Any]) -> dict[str, Any]:
    return {"account": address_in(log, 2), "amount_wei": _words(log)[0]}


def _unbonding(log: dict[str, Any]) -> dict[str, Any]:
    amount, due = _words(log)
    number = int(_topic(log, 3), 16)
    found = {"account": address_in(log, 2), "amount_wei": amount, "due_timestamp": due}
    return found | {"unbonding_number": number}


def _withdrawn(log: dict[str, Any]) -> dict[str, Any]:
    return _moved(log) | {"unbonding_number": int(_topic(log, 3), 16)}


def _announced(log: dict[str, Any]) -> dict[str, Any]:
    amount, due = _words(log)
    return {"evidence": _topic(log, 2), "amount_wei": amount, "due_timestamp": due}


def _overturned(log: dict[str, Any]) -> dict[str, Any]:
    return {"evidence": _topic(log, 2), "account": address_in(log, 3)}


def _slashed(log: dict[str, Any]) -> dict[str, Any]:
    return {"evidence": _topic(log, 2), "amount_wei": _words(log)[0]}


_EVENTS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "Staked(bytes32,address,uint256,uint256)": ("staked", _staked),
    "UnbondingStarted(bytes32,address,uint256,uint256,uint256)": ("unbonding", _unbonding),
    "Withdrawn(bytes32,address,uint256,uint256)": ("withdrawn", _withdrawn),
    "IncomeAdded(bytes32,address,uint256)": ("income", _moved),
    "IncomePaid(bytes32,address,uint256)": ("collected", _moved),
    "SlashAnnounced(bytes32,bytes32,uint256,uint256)": ("announced", _announced),
    "SlashOverturned(bytes32,bytes32,address)": ("overturned", _overturned),
    "Slashed(bytes32,bytes32,uint256)": ("slashed", _slashed),
}
_BY_TOPIC = {str(Web3.to_hex(Web3.keccak(text=event))): rest for event, rest in _EVENTS.items()}


def staking_events(client: ChainClient, staking: str, first: int, last: int) -> list[StakingEvent]:
    """All events of the contract in both-inclusive blocks, in chain order."""
    found: list[StakingEvent] = []
    for log, place in client.logs_of(staking, list(_EVENTS), first, last):
        kind, values = _BY_TOPIC[_topic(log, 0)]
        found.append(StakingEvent(kind=kind, target=_topic(log, 1), place=place, **values(log)))
    return found


# Where things stand


def read_target(client: ChainClient, staking: str, target: bytes, block: BlockTag) -> TargetReading:
    """A target at ``block``."""

    def ask(signature: str, kinds: list[str]) -> tuple[Any, ...]:
        return client.read(staking, signature, [target], kinds, block)

    bonded, unbonding = (
        ask(f"{pool}(bytes32)", ["uint256", "uint256"]) for pool in ("bonded", "unbonding")
    )
    slash_wei, evidence, executable = ask("slashes(bytes32)", ["uint256", "bytes32", "uint64"])
    return TargetReading(
        bonded_wei=bonded[0],
        bonded_shares=bonded[1],
        unbonding_wei=unbonding[0],
        unbonding_shares=unbonding[1],
        income_index=ask("incomeIndex(bytes32)", ["uint256"])[0],
        slash_wei=slash_wei,
        slash_evidence=Web3.to_hex(evidence) if executable else "",
        slash_executable_timestamp=executable,
    )


def read_position(
    client: ChainClient, staking: str, target: bytes, account: str, block: BlockTag
) -> PositionReading:
    """What ``account`` has bonded on a target at ``block``."""
    signature = "positions(bytes32,address)"
    kinds = ["uint256", "uint256", "uint256"]
    return PositionReading(*client.read(staking, signature, [target, account], kinds, block))


def read_unbonding_shares(client: ChainClient, staking: str, number: int, block: BlockTag) -> int:
    """Shares of an unbonding at ``block``; 0 once it was taken out."""
    kinds = ["address", "uint64", "bytes32", "uint256"]
    return int(client.read(staking, "unbondings(uint256)", [number], kinds, block)[3])


def read_rules(client: ChainClient, staking: str, block: BlockTag) -> RulesReading:
    """Times and totals of the contract at ``block``."""

    def number(signature: str) -> int:
        return int(client.read(staking, signature, [], ["uint256"], block)[0])

    return RulesReading(
        unbonding_seconds=number("unbondingSeconds()"),
        appeal_seconds=number("appealSeconds()"),
        total_staked_wei=number("totalStaked()"),
        total_income_wei=number("totalIncome()"),
        is_solvent=bool(number("isSolvent()")),
    )


# The contract's arithmetic


def worth_wei(pool_wei: int, pool_shares: int, shares: int) -> int:
    """What ``shares`` of a pool are worth (OpenStaking._worth)."""
    return shares * (pool_wei + 1) // (pool_shares + 1)


def income_wei(position: PositionReading, target_index: int) -> int:
    """Income that a position can collect (OpenStaking._owed)."""
    grown = target_index - position.income_index
    return position.income_owed_wei + position.shares * grown // INDEX_SCALE
