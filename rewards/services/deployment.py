"""Deploy the contracts: on the development chain by itself, elsewhere by a plan that is shown.

The operator's key signs for the site day by day, so on a real chain it gets no more than that: a
guardian of its own can stop it, the owner (a multisig, say) is handed the administration of every
contract, and only a vote can mint once the first supply is out (docs/operations.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from django.conf import settings
from eth_utils.address import is_address, to_checksum_address

from openledger_site.core.errors import DomainError
from rewards.chain.assets import deploy_assets
from rewards.chain.calls import begin_admin_transfer_call, grant_role_call, renounce_role_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import (
    WEI_PER_OPEN,
    Addresses,
    DeploymentPlan,
    addresses_are_live,
    deploy_all,
    send_and_wait,
)
from rewards.chain.governance_deployment import GovernancePlan, deploy_governance, holds_role
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.reputation import deploy_reputation
from rewards.chain.transactions import Signer
from rewards.chain.vesting import deploy_vesting
from rewards.services.chain import (
    SENDER_LOCK,
    chain_client,
    contract_addresses,
    deployed_addresses,
    only_runner,
    operator_signer,
)
from rewards.services.parameters import genesis_values

ADMINISTERED = (
    "OpenToken",
    "DepositEscrow",
    "CumulativeMerkleDistributor",
    "AnchorRegistry",
    "OpenStaking",
    "ReputationToken",
    "OpenAssets",
    "OpenVesting",
)
"""Contracts with one default admin, who hands over in two steps; the others obey votes alone."""


class RolesMissing(DomainError):
    code = "roles_missing"


@dataclass(frozen=True)
class Roles:
    """Who may do what on the chain."""

    operator: str
    guardian: str
    owner: str
    first_holder: str
    first_supply_wei: int

    @property
    def is_handed_over(self) -> bool:
        """Whether the operator keeps only what the site does with its key."""
        return self.owner != self.operator


def roles() -> Roles:
    """Those of the settings. Raises `RolesMissing` where a real chain needs one that is not set."""
    operator = operator_signer().address
    if settings.CHAIN_ID == DEVELOPMENT_CHAIN_ID:
        return Roles(operator, operator, operator, operator, 0)
    guardian, owner = _account("CHAIN_GUARDIAN"), _account("CHAIN_OWNER")
    if operator in (guardian, owner):
        raise RolesMissing(
            "CHAIN_GUARDIAN and CHAIN_OWNER must not be the operator: they are there for the day"
            " when its key is stolen."
        )
    supply = settings.CHAIN_FIRST_SUPPLY_OPEN * WEI_PER_OPEN
    return Roles(operator, guardian, owner, _account("CHAIN_FIRST_HOLDER", owner), supply)


def _account(name: str, otherwise: str = "") -> str:
    given = getattr(settings, name) or otherwise
    if not is_address(given):
        raise RolesMissing(f"Set {name} to an address on chain {settings.CHAIN_ID}.", where=name)
    return str(to_checksum_address(given))


def deploy_contracts() -> tuple[Addresses, bool]:
    """The contracts, and whether this call deployed any; calling again changes nothing.

    A chain that is older than some of them keeps its contracts and gets what it lacks, and so does
    one where deploying was broken off. Raises `RolesMissing`, and `ChainError` from the node.
    """
    client, signer, who = chain_client(), operator_signer(), roles()
    with only_runner(SENDER_LOCK, wait=True):  # deploying takes nonces from the node
        found = _addresses_that_live(client)
        for further in _deployed(client, signer, who, found):
            further.save(settings.CHAIN_ADDRESSES_FILE)
        addresses = contract_addresses()
        if who.is_handed_over:
            _leave_minting_to_votes(client, signer, addresses)
            _begin_hand_over(client, signer, addresses, who.owner)
    return addresses, addresses != found


def _addresses_that_live(client: ChainClient) -> Addresses | None:
    addresses = deployed_addresses()
    return addresses if addresses and addresses_are_live(client, addresses) else None


def governance_plan(operator: str) -> GovernancePlan:
    """The rules in the settings; version 1 of the parameters is what the site splits by now."""
    return GovernancePlan(
        values=genesis_values(),
        slasher=operator,
        arbiter=operator,
        voting_delay_seconds=settings.GOVERNANCE_VOTING_DELAY_SECONDS,
        voting_period_seconds=settings.GOVERNANCE_VOTING_PERIOD_SECONDS,
        proposal_threshold_wei=settings.GOVERNANCE_THRESHOLD_OPEN * WEI_PER_OPEN,
        quorum_floor_wei=settings.GOVERNANCE_QUORUM_FLOOR_OPEN * WEI_PER_OPEN,
        timelock_delay_seconds=settings.GOVERNANCE_TIMELOCK_SECONDS,
        unbonding_seconds=settings.STAKE_UNBONDING_SECONDS,
        appeal_seconds=settings.STAKE_APPEAL_SECONDS,
    )


def _deployed(
    client: ChainClient, signer: Signer, who: Roles, found: Addresses | None
) -> Iterator[Addresses]:
    """The addresses after each part that was missing."""
    plan = DeploymentPlan(
        operator=who.operator,
        guardian=who.guardian,
        treasury=who.first_holder,
        initial_mint_wei=who.first_supply_wei,
        challenge_delay_seconds=settings.EPOCH_CHALLENGE_SECONDS,
    )
    delay = plan.admin_delay_seconds
    at = found
    if at is None:
        yield (at := deploy_all(client, signer, plan))
    if not at.has_governance:
        yield (at := deploy_governance(client, signer, at, governance_plan(who.operator)))
    if not at.reputation:
        issuer = who.operator
        yield (
            at := deploy_reputation(client, signer, at, issuer=issuer, admin_delay_seconds=delay)
        )
    if not at.assets:
        yield (
            at := deploy_assets(
                client,
                signer,
                at,
                registrar=who.operator,
                admin_delay_seconds=delay,
                uri=f"{settings.SITE_URL}/rewards/assets/tokens/",
            )
        )
    if not at.vesting:
        # A vote grants from the treasury, the owner from what the first supply left it.
        granters = [at.timelock, who.owner]
        yield deploy_vesting(client, signer, at, granters=granters, admin_delay_seconds=delay)


def _leave_minting_to_votes(client: ChainClient, signer: Signer, at: Addresses) -> None:
    """The timelock first: nobody could mint if this broke off in between the other way round."""
    if not holds_role(client, at.token, "MINTER_ROLE", at.timelock):
        send_and_wait(client, signer, grant_role_call(at.token, "MINTER_ROLE", at.timelock))
    if holds_role(client, at.token, "MINTER_ROLE", signer.address):
        renounce = renounce_role_call(at.token, "MINTER_ROLE", signer.address)
        send_and_wait(client, signer, renounce)


def _begin_hand_over(client: ChainClient, signer: Signer, at: Addresses, owner: str) -> None:
    """Offer the owner every contract that the operator still administers, once."""
    for contract in _administered(at).values():
        is_ours = admin_of(client, contract) == signer.address
        if is_ours and pending_admin(client, contract) != owner:
            send_and_wait(client, signer, begin_admin_transfer_call(contract, owner))


def _administered(at: Addresses) -> dict[str, str]:
    return {name: address for name, address in at.by_name().items() if name in ADMINISTERED}


def admin_of(client: ChainClient, contract: str) -> str:
    (admin,) = client.read(contract, "defaultAdmin()", [], ["address"], "latest")
    return str(to_checksum_address(admin))


def pending_admin(client: ChainClient, contract: str) -> str:
    """To whom the administration was offered; the zero address where to nobody."""
    types = ["address", "uint48"]
    admin, _ = client.read(contract, "pendingDefaultAdmin()", [], types, "latest")
    return str(to_checksum_address(admin))


def waiting_for_owner(addresses: Addresses) -> list[str]:
    """Names of the contracts whose administration the owner has not accepted yet."""
    client, who = chain_client(), roles()
    if not who.is_handed_over:
        return []
    contracts = _administered(addresses).items()
    return [name for name, contract in contracts if admin_of(client, contract) != who.owner]


def deployment_plan() -> dict[str, object]:
    """What `deploy_contracts` would do here, for people to read first. Raises as it does."""
    client, who, rules = chain_client(), roles(), governance_plan(operator_signer().address)
    return {
        "chain": settings.CHAIN_ID,
        "operator": who.operator,
        "operator_eth_wei": client.native_balance_of(who.operator),
        "guardian": who.guardian,
        "owner": who.owner,
        "first_supply": {"open": settings.CHAIN_FIRST_SUPPLY_OPEN, "to": who.first_holder},
        "epoch_challenge_seconds": settings.EPOCH_CHALLENGE_SECONDS,
        "voting_delay_seconds": rules.voting_delay_seconds,
        "voting_period_seconds": rules.voting_period_seconds,
        "timelock_seconds": rules.timelock_delay_seconds,
        "proposal_threshold_open": settings.GOVERNANCE_THRESHOLD_OPEN,
        "quorum_floor_open": settings.GOVERNANCE_QUORUM_FLOOR_OPEN,
        "quorum_percent": rules.quorum_percent,
        "unbonding_seconds": rules.unbonding_seconds,
        "appeal_seconds": rules.appeal_seconds,
        "parameters": asdict(rules.values),
    }
