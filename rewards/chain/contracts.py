"""Deploying the contracts and remembering where they are.

    signer = Signer(settings.CHAIN_DEPLOYER_KEY, settings.CHAIN_ID)
    addresses = deploy_all(client, signer, DeploymentPlan(...))
    addresses.save(path); addresses = Addresses.load(path)
    addresses_are_live(client, addresses)   # False after the chain was thrown away

``deploy_all`` sends its transactions one after another and takes nonces from the node, so nothing
else may send from that key meanwhile.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rewards.chain.artifacts import artifact
from rewards.chain.calls import (
    ContractCall,
    create_call,
    grant_role_call,
    mint_call,
    renounce_role_call,
)
from rewards.chain.client import ChainClient
from rewards.chain.errors import ChainError
from rewards.chain.records import Receipt
from rewards.chain.transactions import Signer

WEI_PER_OPEN = 10**18


@dataclass(frozen=True)
class DeploymentPlan:
    """Who may do what, and the fixed parameters.

    Each role has one address; several roles may share one. ``initial_mint_wei`` goes to
    ``treasury``.
    """

    operator: str
    guardian: str
    treasury: str
    cap_wei: int = 1_000_000_000 * WEI_PER_OPEN
    initial_mint_wei: int = 0
    challenge_delay_seconds: int = 24 * 3600
    admin_delay_seconds: int = 48 * 3600


@dataclass(frozen=True)
class Addresses:
    """Where the contracts are, and from which block on to look for events."""

    chain_id: int
    token: str
    escrow: str
    distributor: str
    anchors: str
    deployed_block: int
    deployed_block_hash: str
    source_hash: str
    # Came later: empty in the file of a chain that has not got them yet.
    governor: str = ""
    timelock: str = ""
    parameters: str = ""
    staking: str = ""
    reputation: str = ""
    assets: str = ""
    vesting: str = ""

    @property
    def has_governance(self) -> bool:
        return bool(self.governor)

    def by_name(self) -> dict[str, str]:
        """The address of each contract that is there, by the name of its source."""
        named = {
            "OpenToken": self.token,
            "DepositEscrow": self.escrow,
            "CumulativeMerkleDistributor": self.distributor,
            "AnchorRegistry": self.anchors,
            "OpenStaking": self.staking,
            "ProtocolParameters": self.parameters,
            "OpenGovernor": self.governor,
            "GovernanceTimelock": self.timelock,
            "ReputationToken": self.reputation,
            "OpenAssets": self.assets,
            "OpenVesting": self.vesting,
        }
        return {name: address for name, address in named.items() if address}

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Addresses:
        """Raises ``ValueError`` when a field is missing or unknown."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not an address file: {error}") from error

    def save(self, path: Path) -> None:
        """Writes a temporary file, syncs and renames it, so that a reader sees all or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with temporary.open("w") as file:
            file.write(self.to_json())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Addresses:
        return cls.from_json(path.read_text())


def send_and_wait(client: ChainClient, signer: Signer, call: ContractCall) -> Receipt:
    """Signs, sends and waits; for deployment, tests and tools.

    The site's sender stores nonce and signed bytes in its database first and must not use this.
    """
    signed = signer.sign(
        call,
        nonce=client.transaction_count(signer.address, "pending"),
        gas_limit=client.estimate_gas(signer.address, call),
        fees=client.estimate_fees(),
    )
    return client.wait_for_receipt(client.send_raw(signed.raw))


def deploy_all(client: ChainClient, signer: Signer, plan: DeploymentPlan) -> Addresses:
    """Deploys token, distributor, escrow and anchor registry, and grants the roles of the plan.

    The deployer stays default admin; hand it over with ``beginDefaultAdminTransfer``.
    """
    admin: tuple[object, ...] = (signer.address, plan.admin_delay_seconds)

    def create(name: str, extra_types: list[str], *extra: object) -> Receipt:
        types = ["address", "uint48", *extra_types]
        return send_and_wait(client, signer, create_call(name, types, [*admin, *extra]))

    first = create("OpenToken", ["uint256"], plan.cap_wei)
    token = created_by(first)
    distributor = created_by(
        create(
            "CumulativeMerkleDistributor",
            ["address", "uint64"],
            token,
            plan.challenge_delay_seconds,
        )
    )
    escrow = created_by(create("DepositEscrow", ["address", "address"], token, distributor))
    addresses = Addresses(
        chain_id=client.expected_chain_id,
        token=token,
        escrow=escrow,
        distributor=distributor,
        anchors=created_by(create("AnchorRegistry", [])),
        deployed_block=first.block_number,
        deployed_block_hash=first.block_hash,
        source_hash=artifact("OpenToken").source_hash,
    )
    for call in role_calls(addresses, plan):
        send_and_wait(client, signer, call)
    if plan.initial_mint_wei:
        _mint_once(client, signer, addresses, plan)
    return addresses


def role_calls(addresses: Addresses, plan: DeploymentPlan) -> list[ContractCall]:
    """The grants of a plan, to be sent by the default admin."""
    return [
        grant_role_call(addresses.token, "MINTER_ROLE", plan.operator),
        grant_role_call(addresses.escrow, "OPERATOR_ROLE", plan.operator),
        grant_role_call(addresses.escrow, "PAUSER_ROLE", plan.guardian),
        grant_role_call(addresses.distributor, "PROPOSER_ROLE", plan.operator),
        grant_role_call(addresses.distributor, "GUARDIAN_ROLE", plan.guardian),
        grant_role_call(addresses.anchors, "ANCHOR_ROLE", plan.operator),
    ]


def addresses_are_live(client: ChainClient, addresses: Addresses) -> bool:
    """Whether these contracts are on this very chain: same id, deployment block, and code there."""
    if addresses.chain_id != client.expected_chain_id:
        return False
    if client.block_hash(addresses.deployed_block) != addresses.deployed_block_hash:
        return False
    return all(client.code_of(contract) for contract in addresses.by_name().values())


def _mint_once(
    client: ChainClient, signer: Signer, addresses: Addresses, plan: DeploymentPlan
) -> None:
    """The deployer is minter for this one mint, then gives the role up."""
    send_and_wait(client, signer, grant_role_call(addresses.token, "MINTER_ROLE", signer.address))
    mint = mint_call(addresses.token, plan.treasury, plan.initial_mint_wei)
    send_and_wait(client, signer, mint)
    if signer.address != plan.operator:
        renounce = renounce_role_call(addresses.token, "MINTER_ROLE", signer.address)
        send_and_wait(client, signer, renounce)


def created_by(receipt: Receipt) -> str:
    """The address of the contract that a transaction created."""
    if receipt.contract_address is None:
        raise ChainError(f"{receipt.transaction_hash} created no contract")
    return receipt.contract_address


def create_with_role(
    client: ChainClient, signer: Signer, create: ContractCall, role_name: str, holder: str
) -> str:
    """Deploys a contract and grants the one role it has; its address."""
    contract = created_by(send_and_wait(client, signer, create))
    send_and_wait(client, signer, grant_role_call(contract, role_name, holder))
    return contract
