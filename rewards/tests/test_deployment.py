"""Contracts on a chain that is not the development chain: who may do what, and no key of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from eth_account import Account as KeyAccount
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from rewards.chain.calls import accept_admin_transfer_call, approve_call, deposit_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import WEI_PER_OPEN, send_and_wait
from rewards.chain.errors import CallReverted, UnsafeKey
from rewards.chain.governance_deployment import holds_role
from rewards.chain.local import LocalChain, LocalChainSettings, free_port
from rewards.chain.transactions import Signer
from rewards.selectors import spendable_wei
from rewards.services import watch_chain
from rewards.services.chain import contract_addresses
from rewards.services.deployment import ADMINISTERED, RolesMissing, admin_of, deploy_contracts
from rewards.services.dev_chain import NotTheDevelopmentChain, give_test_open

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
CHAIN_ID = 31_338
SUPPLY = 5_000


@pytest.fixture(scope="module")
def real_chain() -> Iterator[LocalChain]:
    """As far from the development chain as its id: no key of ours is known on it."""
    with LocalChain(LocalChainSettings(port=free_port(), chain_id=CHAIN_ID)) as chain:
        yield chain


@pytest.fixture
def client(real_chain: LocalChain) -> ChainClient:
    return ChainClient(real_chain.url, CHAIN_ID)


def funded(client: ChainClient) -> Signer:
    signer = Signer(KeyAccount.create().key, CHAIN_ID)
    client.request("anvil_setBalance", signer.address, hex(10**20))
    return signer


@pytest.fixture
def owner(client: ChainClient) -> Signer:
    return funded(client)


@pytest.fixture
def operator(
    client: ChainClient, owner: Signer, real_chain: LocalChain, settings: Settings, tmp_path: Path
) -> Signer:
    key = KeyAccount.create().key
    operator = Signer(key, CHAIN_ID)
    client.request("anvil_setBalance", operator.address, hex(10**20))
    settings.CHAIN_ID, settings.CHAIN_RPC_URL = CHAIN_ID, real_chain.url
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "addresses.json"
    settings.CHAIN_OPERATOR_KEY = bytes(key).hex()
    settings.CHAIN_GUARDIAN = KeyAccount.create().address
    settings.CHAIN_OWNER = owner.address
    settings.CHAIN_FIRST_SUPPLY_OPEN = SUPPLY
    return operator


def test_nothing_is_deployed_before_the_plan_was_read(
    operator: Signer, client: ChainClient, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match=f"--chain {CHAIN_ID}"):
        call_command("deploy_contracts")
    plan = json.loads(capsys.readouterr().out)
    assert (plan["operator"], plan["owner"]) == (operator.address, settings.CHAIN_OWNER)
    assert plan["first_supply"] == {"open": SUPPLY, "to": settings.CHAIN_OWNER}
    assert client.transaction_count(operator.address) == 0
    with pytest.raises(CommandError, match="Nothing was deployed"):
        call_command("deploy_contracts", chain=1)
    call_command("deploy_contracts", chain=CHAIN_ID)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["deployed"] is True
    assert told["owner_has_to_accept"] == list(ADMINISTERED)


@pytest.mark.parametrize("name", ["CHAIN_GUARDIAN", "CHAIN_OWNER"])
@pytest.mark.parametrize("wrong", ["", "0x12", "operator"])
def test_a_role_that_is_not_set_or_is_the_operators_own_is_refused(
    operator: Signer, client: ChainClient, settings: Settings, name: str, wrong: str
) -> None:
    setattr(settings, name, operator.address if wrong == "operator" else wrong)
    with pytest.raises(RolesMissing, match=name):
        deploy_contracts()
    assert client.transaction_count(operator.address) == 0


def test_the_keys_that_everybody_knows_are_refused(operator: Signer, settings: Settings) -> None:
    settings.CHAIN_OPERATOR_KEY = ""
    with pytest.raises(UnsafeKey):
        deploy_contracts()
    with pytest.raises(NotTheDevelopmentChain):
        give_test_open(operator.address, 1)


def test_the_operator_keeps_what_the_site_does_and_no_more(
    operator: Signer, owner: Signer, client: ChainClient, settings: Settings
) -> None:
    at, is_new = deploy_contracts()
    assert is_new
    assert client.balance_of(at.token, owner.address) == SUPPLY * WEI_PER_OPEN
    for contract, role, holders in (
        (at.token, "MINTER_ROLE", {at.timelock}),
        (at.escrow, "OPERATOR_ROLE", {operator.address}),
        (at.escrow, "PAUSER_ROLE", {settings.CHAIN_GUARDIAN}),
        (at.distributor, "PROPOSER_ROLE", {operator.address}),
        (at.distributor, "GUARDIAN_ROLE", {settings.CHAIN_GUARDIAN}),
        (at.vesting, "GRANTER_ROLE", {at.timelock, owner.address}),
    ):
        known = (operator.address, settings.CHAIN_GUARDIAN, owner.address, at.timelock)
        held = {account for account in known if holds_role(client, contract, role, account)}
        assert held == holders, role
    assert not holds_role(client, at.timelock, "DEFAULT_ADMIN_ROLE", operator.address)
    sent = client.transaction_count(operator.address)
    assert deploy_contracts() == (at, False)
    assert client.transaction_count(operator.address) == sent


def test_the_owner_takes_the_administration_after_the_delay(
    operator: Signer, owner: Signer, client: ChainClient
) -> None:
    at, _ = deploy_contracts()
    named = at.by_name()
    with pytest.raises(CallReverted):
        send_and_wait(client, owner, accept_admin_transfer_call(at.token))
    client.request("evm_increaseTime", 49 * 3600)
    client.request("evm_mine")
    for name in ADMINISTERED:
        send_and_wait(client, owner, accept_admin_transfer_call(named[name]))
        assert admin_of(client, named[name]) == owner.address
        assert not holds_role(client, named[name], "DEFAULT_ADMIN_ROLE", operator.address)
    assert deploy_contracts() == (at, False)


def test_what_was_broken_off_goes_on_where_it_stood(
    operator: Signer, client: ChainClient, settings: Settings
) -> None:
    whole, _ = deploy_contracts()
    half = replace(whole, reputation="", assets="", vesting="")
    half.save(settings.CHAIN_ADDRESSES_FILE)
    at, is_new = deploy_contracts()
    assert is_new
    assert (at.token, at.governor) == (whole.token, whole.governor)
    assert client.code_of(at.vesting)
    assert at.vesting != whole.vesting


def test_a_deposit_on_it_is_credited(
    operator: Signer, owner: Signer, client: ChainClient, real_chain: LocalChain, consumer: User
) -> None:
    deploy_contracts()
    at = contract_addresses()
    Wallet.objects.create(user=consumer, address=owner.address, chain_id=CHAIN_ID)
    send_and_wait(client, owner, approve_call(at.token, at.escrow, WEI_PER_OPEN))
    send_and_wait(client, owner, deposit_call(at.escrow, WEI_PER_OPEN))
    real_chain.mine(3)
    watch_chain()
    assert spendable_wei(consumer) == WEI_PER_OPEN
