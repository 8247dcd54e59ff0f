"""One anvil for the whole session; each test starts from the freshly deployed contracts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, DeploymentPlan, deploy_all
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID, development_account
from rewards.chain.local import LocalChain, LocalChainSettings, free_port
from rewards.chain.transactions import Signer
from rewards.tests.undo import undone

OPEN = 10**18


@dataclass(frozen=True)
class Cast:
    """Who acts: each has a funded development key of their own."""

    admin: Signer
    operator: Signer
    guardian: Signer
    depositor: Signer
    contributor: Signer


@pytest.fixture(scope="session")
def cast() -> Cast:
    return Cast(
        *(Signer(development_account(index).key, DEVELOPMENT_CHAIN_ID) for index in range(5))
    )


@pytest.fixture(scope="session")
def chain() -> Iterator[LocalChain]:
    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        yield chain


@pytest.fixture(scope="session")
def deployed(chain: LocalChain, cast: Cast) -> Addresses:
    plan = DeploymentPlan(
        operator=cast.operator.address,
        guardian=cast.guardian.address,
        treasury=cast.depositor.address,
        initial_mint_wei=1_000_000 * OPEN,
        challenge_delay_seconds=60,
    )
    client = ChainClient(chain.url, DEVELOPMENT_CHAIN_ID)
    return deploy_all(client, cast.admin, plan)


@pytest.fixture
def client(chain: LocalChain) -> ChainClient:
    return ChainClient(chain.url, DEVELOPMENT_CHAIN_ID)


@pytest.fixture
def addresses(client: ChainClient, deployed: Addresses) -> Iterator[Addresses]:
    """The deployed contracts; whatever the test does to the chain is undone after it."""
    with undone(client):
        yield deployed
