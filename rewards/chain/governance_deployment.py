"""Deploying what votes need beside the other contracts: timelock, governor, parameters, staking.

    addresses = deploy_governance(client, signer, addresses, plan)

At the end nobody but a vote can schedule anything in the timelock: the deployer gives its role up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewards.chain.calls import create_call, encode_call, grant_role_call, role_id
from rewards.chain.client import ChainClient
from rewards.chain.contracts import WEI_PER_OPEN, Addresses, created_by, send_and_wait
from rewards.chain.governance import ParameterValues
from rewards.chain.transactions import Signer

ANYBODY = "0x" + "0" * 40
DEFAULT_ADMIN_ROLE = b"\0" * 32
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class GovernancePlan:
    """The rules of votes and stakes, and the numbers of version 1."""

    values: ParameterValues
    slasher: str
    arbiter: str
    voting_delay_seconds: int = DAY_SECONDS
    voting_period_seconds: int = 7 * DAY_SECONDS
    proposal_threshold_wei: int = 10_000 * WEI_PER_OPEN
    quorum_percent: int = 4
    quorum_floor_wei: int = 1_000_000 * WEI_PER_OPEN
    timelock_delay_seconds: int = 2 * DAY_SECONDS
    unbonding_seconds: int = 14 * DAY_SECONDS
    appeal_seconds: int = 7 * DAY_SECONDS
    admin_delay_seconds: int = 2 * DAY_SECONDS


def deploy_governance(
    client: ChainClient, signer: Signer, addresses: Addresses, plan: GovernancePlan
) -> Addresses:
    """Deploys the four contracts; answers the addresses with theirs filled in."""

    def create(name: str, types: list[str], *arguments: object) -> str:
        return created_by(send_and_wait(client, signer, create_call(name, types, arguments)))

    timelock = create(
        "GovernanceTimelock",
        ["uint256", "address[]", "address[]", "address"],
        plan.timelock_delay_seconds,
        [],
        [ANYBODY],
        signer.address,
    )
    governor = create(
        "OpenGovernor",
        ["address", "address", "uint48", "uint32", "uint256", "uint256", "uint256"],
        addresses.token,
        timelock,
        plan.voting_delay_seconds,
        plan.voting_period_seconds,
        plan.proposal_threshold_wei,
        plan.quorum_percent,
        plan.quorum_floor_wei,
    )
    _hand_over(client, signer, timelock, governor)
    parameters = create(
        "ProtocolParameters",
        ["address", "address", "(uint16,uint16,uint16,uint16,uint32,uint16)"],
        timelock,
        addresses.distributor,
        plan.values.as_tuple(),
    )
    staking = create(
        "OpenStaking",
        ["address", "uint48", "address", "address", "address", "uint64", "uint64"],
        signer.address,
        plan.admin_delay_seconds,
        addresses.token,
        parameters,
        timelock,
        plan.unbonding_seconds,
        plan.appeal_seconds,
    )
    for role, holder in (("SLASHER_ROLE", plan.slasher), ("ARBITER_ROLE", plan.arbiter)):
        send_and_wait(client, signer, grant_role_call(staking, role, holder))
    return replace(
        addresses, governor=governor, timelock=timelock, parameters=parameters, staking=staking
    )


def _hand_over(client: ChainClient, signer: Signer, timelock: str, governor: str) -> None:
    """The governor schedules and cancels, nobody else; the deployer's own role is given up last."""
    for role in ("PROPOSER_ROLE", "CANCELLER_ROLE"):
        send_and_wait(client, signer, grant_role_call(timelock, role, governor))
    renounce = encode_call(
        timelock, "renounceRole(bytes32,address)", DEFAULT_ADMIN_ROLE, signer.address
    )
    send_and_wait(client, signer, renounce)


def holds_role(client: ChainClient, contract: str, role_name: str, account: str) -> bool:
    """Whether ``account`` has a role now; ``DEFAULT_ADMIN_ROLE`` is the zero one."""
    role = DEFAULT_ADMIN_ROLE if role_name == "DEFAULT_ADMIN_ROLE" else role_id(role_name)
    return bool(
        client.read(contract, "hasRole(bytes32,address)", [role, account], ["bool"], "latest")[0]
    )
