"""What only the development chain may do: deploy the contracts, hand out and grant test OPEN."""

from __future__ import annotations

from dataclasses import asdict
from uuid import uuid4

from django.conf import settings

from openledger_site.core.errors import DomainError
from openledger_site.core.waiting import rounds
from rewards.chain.assets import deploy_assets
from rewards.chain.client import ChainClient
from rewards.chain.contracts import (
    WEI_PER_OPEN,
    Addresses,
    DeploymentPlan,
    addresses_are_live,
    deploy_all,
)
from rewards.chain.errors import ReceiptTimeout
from rewards.chain.governance_deployment import GovernancePlan, deploy_governance
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.reputation import deploy_reputation
from rewards.chain.vesting import deploy_vesting
from rewards.models import ChainTransaction
from rewards.services.chain import (
    SENDER_LOCK,
    chain_client,
    contract_addresses,
    deployed_addresses,
    only_runner,
    operator_signer,
)
from rewards.services.parameters import genesis_values
from rewards.services.sender import queue_transaction, send_transactions
from rewards.vesting import Schedule

WEI_FOR_GAS = 10**18
State = ChainTransaction.State


class NotTheDevelopmentChain(DomainError):
    code = "not_the_development_chain"
    message = "This works on the development chain only."


def deploy_contracts() -> tuple[Addresses, bool]:
    """The contracts, and whether this call deployed any; calling again changes nothing.

    A chain that is older than some of them keeps its contracts and gets what it lacks.
    """
    _refuse_elsewhere()
    client, signer = chain_client(), operator_signer()
    with only_runner(SENDER_LOCK, wait=True):  # deploying takes nonces from the node
        found = _addresses_that_live(client)
        plan = DeploymentPlan(
            operator=signer.address,
            guardian=signer.address,
            treasury=signer.address,
            challenge_delay_seconds=settings.EPOCH_CHALLENGE_SECONDS,
        )
        addresses = found or deploy_all(client, signer, plan)
        if not addresses.has_governance:
            rules = governance_plan(signer.address)
            addresses = deploy_governance(client, signer, addresses, rules)
        if not addresses.reputation:
            addresses = deploy_reputation(
                client,
                signer,
                addresses,
                issuer=signer.address,
                admin_delay_seconds=plan.admin_delay_seconds,
            )
        if not addresses.assets:
            addresses = deploy_assets(
                client,
                signer,
                addresses,
                registrar=signer.address,
                admin_delay_seconds=plan.admin_delay_seconds,
                uri=f"{settings.SITE_URL}/rewards/assets/tokens/",
            )
        if not addresses.vesting:
            # A vote grants from the treasury, the operator from what the first supply left it.
            addresses = deploy_vesting(
                client,
                signer,
                addresses,
                granters=[addresses.timelock, signer.address],
                admin_delay_seconds=plan.admin_delay_seconds,
            )
        if addresses != found:
            addresses.save(settings.CHAIN_ADDRESSES_FILE)
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


def give_test_open(account: str, amount_wei: int, *, timeout_seconds: float = 30.0) -> list[str]:
    """Mint OPEN and send coin for gas to `account`; return the transaction hashes once mined.

    Raises `ReceiptTimeout` when the chain does not mine in time.
    """
    _refuse_elsewhere()
    subject = f"faucet:{uuid4()}"
    rows = [
        queue_transaction("mint", subject=subject, account=account, amount_wei=str(amount_wei)),
        queue_transaction("native", subject=subject, account=account, amount_wei=str(WEI_FOR_GAS)),
    ]
    return _mined(rows, timeout_seconds)


def grant_test_open(
    account: str, amount_wei: int, schedule: Schedule, *, timeout_seconds: float = 30.0
) -> str:
    """Mint OPEN and grant it to `account` by a schedule; the hash of the grant once mined."""
    _refuse_elsewhere()
    subject, vesting = f"grant:{uuid4()}", contract_addresses().vesting
    minter, amount = operator_signer().address, str(amount_wei)
    funding = [
        queue_transaction("mint", subject=subject, account=minter, amount_wei=amount),
        queue_transaction("approve", subject=subject, spender=vesting, amount_wei=amount),
    ]
    _mined(funding, timeout_seconds)
    grant = queue_transaction(
        "grant", subject=subject, beneficiary=account, amount_wei=amount, **asdict(schedule)
    )
    return _mined([grant], timeout_seconds)[0]


def _mined(rows: list[ChainTransaction], timeout_seconds: float) -> list[str]:
    """Send until all are mined; their hashes."""
    for _ in rounds(timeout_seconds):
        send_transactions()
        for row in rows:
            row.refresh_from_db()
        if all(row.state in (State.MINED, *ChainTransaction.ENDED) for row in rows):
            return [_hash_of(row) for row in rows]
    states = ", ".join(f"{row.purpose} {row.state} {row.problem}".strip() for row in rows)
    raise ReceiptTimeout(f"{rows[0].subject} was not mined in {timeout_seconds} s: {states}")


def _hash_of(row: ChainTransaction) -> str:
    if row.state == State.FAILED:
        raise DomainError(row.problem, code="transaction_failed")
    return row.transaction_hash


def _refuse_elsewhere() -> None:
    if settings.CHAIN_ID != DEVELOPMENT_CHAIN_ID:
        raise NotTheDevelopmentChain()
