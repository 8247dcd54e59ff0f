"""Votes on a real chain: proposed, voted, queued, executed, and then in force on the site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from rewards.chain.calls import ContractCall
from rewards.chain.errors import CallReverted, ChainError
from rewards.chain.governance import (
    Support,
    cast_vote_call,
    delegate_call,
    execute_proposal_call,
    proposal_id_of,
    propose_vote_call,
    queue_proposal_call,
    read_voting_power,
    set_fee_split_call,
    set_holding_call,
    treasury_transfer_call,
)
from rewards.chain.governance_deployment import holds_role
from rewards.chain.local import LocalChain, LocalChainSettings, free_port
from rewards.chain.transactions import Signer
from rewards.forms.governance import GrantForm
from rewards.models import (
    GovernanceReading,
    ParameterChange,
    Proposal,
    Settlement,
    SplitParameters,
    VestingGrant,
    VotingPower,
)
from rewards.services import (
    close_epoch,
    place_hold,
    read_governance,
    release_earnings,
    settle_answer,
    split_parameters,
    watch_chain,
)
from rewards.services.chain import chain_client, contract_addresses, operator_signer
from rewards.services.deployment import deploy_contracts
from rewards.services.dev_chain import give_test_open
from rewards.tests.conftest import OPEN, Fund, Wallets

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
DELAY, PERIOD, TIMELOCK = 60, 600, 60
REASON = "# Builders bring the users\n\nMore for builders."


@pytest.fixture(scope="module")
def local_chain() -> Iterator[LocalChain]:
    """A chain of its own: these tests move its clock by hours."""
    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        yield chain


@pytest.fixture
def voter(wallets: Wallets) -> Signer:
    """A wallet with 1,000 OPEN that votes with them itself."""
    signer = wallets.new(1_000)
    wallets.send(signer, delegate_call(wallets.addresses.token, signer.address))
    return signer


@pytest.fixture
def split_call(wallets: Wallets) -> ContractCall:
    return set_fee_split_call(wallets.addresses.parameters, [6_000, 3_000, 500, 500])


def wait(wallets: Wallets, seconds: int) -> None:
    wallets.client.request("evm_increaseTime", seconds)
    wallets.client.request("evm_mine")


def see(wallets: Wallets) -> Proposal:
    """The newest proposal after the site has looked."""
    wallets.finalize()
    watch_chain()
    read_governance()
    return Proposal.objects.latest("vote_start")


def propose(wallets: Wallets, voter: Signer, *actions: ContractCall, text: str = REASON) -> int:
    wait(wallets, 1)
    wallets.send(voter, propose_vote_call(wallets.addresses.governor, actions, text))
    return proposal_id_of(actions, text)


def carry(wallets: Wallets, voter: Signer, *actions: ContractCall, text: str = REASON) -> None:
    """From propose to execute, without looking in between."""
    number = propose(wallets, voter, *actions, text=text)
    governor = wallets.addresses.governor
    wait(wallets, DELAY + 1)
    wallets.send(voter, cast_vote_call(governor, number, Support.FOR))
    wait(wallets, PERIOD)
    wallets.send(voter, queue_proposal_call(governor, actions, text))
    wait(wallets, TIMELOCK)
    wallets.send(voter, execute_proposal_call(governor, actions, text))


def pay(consumer: User, builder: User, contributor: User, key: str) -> Settlement:
    return settle_answer(
        hold=place_hold(consumer, OPEN, key=key, reason="Answer"),
        key=key,
        fee_wei=OPEN,
        builder=builder,
        contributor_shares=[(contributor.pk, 1)],
        reason="Answer",
        source_url="",
    )


def test_a_vote_from_delegation_to_the_next_answers_receipt(
    wallets: Wallets,
    voter: Signer,
    split_call: ContractCall,
    consumer: User,
    builder: User,
    contributor: User,
    fund: Fund,
    settings: Settings,
) -> None:
    governor = wallets.addresses.governor
    number = propose(wallets, voter, split_call)
    proposal = see(wallets)
    assert (proposal.state, proposal.proposal_id) == ("pending", str(number))
    assert proposal.title == "Builders bring the users"
    wait(wallets, DELAY + 1)
    assert see(wallets).state == "active"
    wallets.send(voter, cast_vote_call(governor, number, Support.FOR))
    proposal = see(wallets)
    assert (proposal.for_wei, proposal.quorum_wei) == (1_000 * OPEN + 1, 100 * OPEN)
    wait(wallets, PERIOD)
    assert see(wallets).state == "succeeded"
    wallets.send(voter, queue_proposal_call(governor, [split_call], REASON))
    assert see(wallets).state == "queued"
    with pytest.raises(CallReverted, match="TimelockUnexpectedOperationState"):
        wallets.send(voter, execute_proposal_call(governor, [split_call], REASON))
    wait(wallets, TIMELOCK)
    assert split_parameters().version == 1
    wallets.send(voter, execute_proposal_call(governor, [split_call], REASON))
    proposal = see(wallets)
    assert (proposal.state, proposal.is_settled) == ("executed", True)

    # Executed in epoch 1: in force from epoch 2 on.
    settings.EARNINGS_HOLDING_SECONDS = 0
    fund(consumer, 5 * OPEN)
    before = pay(consumer, builder, contributor, "before")
    assert before.parameters.version == 1
    wallets.link(contributor, wallets.new())
    release_earnings()
    close_epoch(actor=None)
    after = pay(consumer, builder, contributor, "after")
    assert after.parameters.as_dict() == {
        "version": 2,
        "effective_from_epoch": 2,
        "holding_seconds": 7 * 86_400,
        "contributors_ppm": 600_000,
        "builder_ppm": 300_000,
        "stakers_ppm": 50_000,
        "platform_ppm": 50_000,
    }
    assert (before.builder_wei, after.builder_wei) == (OPEN // 5, OPEN * 3 // 10)


def test_a_change_is_booked_when_its_block_is_final_and_once(
    wallets: Wallets, voter: Signer, split_call: ContractCall
) -> None:
    carry(wallets, voter, split_call)
    watch_chain()
    assert not ParameterChange.objects.exists()  # mined, not final
    wallets.finalize()
    for _ in range(2):
        watch_chain()
    assert SplitParameters.objects.filter(change__isnull=False).count() == 1


def test_a_change_whose_block_left_the_chain_is_not_in_force_and_may_come_back(
    wallets: Wallets, voter: Signer, split_call: ContractCall
) -> None:
    snapshot = wallets.client.request("evm_snapshot")
    carry(wallets, voter, split_call)
    see(wallets)
    wallets.client.request("evm_revert", snapshot)  # as after a kill -9: the chain is behind
    wallets.finalize()
    watch_chain()
    assert set(ParameterChange.objects.values_list("state", flat=True)) == {"voided"}
    assert set(Proposal.objects.values_list("state", flat=True)) == {"voided"}
    carry(wallets, voter, split_call)
    see(wallets)
    assert sorted(ParameterChange.objects.values_list("state", flat=True)) == ["counted", "voided"]
    newest = SplitParameters.objects.latest("version")
    assert (newest.change.state if newest.change else "", newest.builder_ppm) == (
        "counted",
        300_000,
    )


def test_the_treasury_is_sent_by_a_vote(wallets: Wallets, voter: Signer) -> None:
    addresses, payee = wallets.addresses, wallets.new().address
    give_test_open(addresses.timelock, 50 * OPEN)
    carry(wallets, voter, treasury_transfer_call(addresses.token, payee, 20 * OPEN))
    assert see(wallets).state == "executed"
    assert GovernanceReading.objects.get().treasury_wei == 30 * OPEN
    assert wallets.client.balance_of(addresses.token, payee) == 20 * OPEN + 1


def test_a_vote_grants_from_the_treasury(wallets: Wallets, voter: Signer) -> None:
    addresses, payee = wallets.addresses, wallets.new().address
    give_test_open(addresses.timelock, 50 * OPEN)
    asked = {"amount": "20", "begins": "2026-01-01", "cliff": "0", "days": "7300"}
    form = GrantForm(asked | {"wallet": payee, "title": "A grant", "reason": "For the work."})
    assert form.is_valid(), form.errors
    carry(wallets, voter, *form.calls(addresses), text=form.description())
    assert see(wallets).state == "executed"
    assert GovernanceReading.objects.get().treasury_wei == 30 * OPEN
    grant = VestingGrant.objects.get()
    assert (grant.owner, grant.allocation_wei) == (payee, 20 * OPEN)
    assert grant.schedule == form.schedule


def test_a_vote_below_the_quorum_floor_is_defeated(wallets: Wallets, voter: Signer) -> None:
    few = wallets.new(50)
    wallets.send(few, delegate_call(wallets.addresses.token, few.address))
    action = set_holding_call(wallets.addresses.parameters, 60)
    number = propose(wallets, voter, action)
    wait(wallets, DELAY + 1)
    wallets.send(few, cast_vote_call(wallets.addresses.governor, number, Support.FOR))
    wait(wallets, PERIOD)
    proposal = see(wallets)
    assert (proposal.state, proposal.for_wei) == ("defeated", 50 * OPEN + 1)


def test_nobody_but_the_governor_decides_in_the_timelock(wallets: Wallets) -> None:
    addresses, operator = wallets.addresses, operator_signer().address
    for role in ("DEFAULT_ADMIN_ROLE", "PROPOSER_ROLE", "CANCELLER_ROLE"):
        assert not holds_role(wallets.client, addresses.timelock, role, operator)
    assert holds_role(wallets.client, addresses.timelock, "PROPOSER_ROLE", addresses.governor)
    call = set_fee_split_call(addresses.parameters, [0, 0, 0, 10_000])
    with pytest.raises(CallReverted, match="OwnableUnauthorizedAccount"):
        wallets.send(operator_signer(), call)


def test_a_proposal_with_hostile_text_stops_nothing(wallets: Wallets, voter: Signer) -> None:
    action = set_holding_call(wallets.addresses.parameters, 60)
    call = propose_vote_call(wallets.addresses.governor, [action], "# ok")
    broken = ContractCall(call.to, call.data.replace(b"# ok", b"\xff\x00<b"))
    wait(wallets, 1)
    wallets.send(voter, broken)
    proposal = see(wallets)
    assert proposal.title == "��<b"
    assert proposal.state == "pending"


def test_linked_wallets_are_read_with_their_votes(
    wallets: Wallets, voter: Signer, consumer: User
) -> None:
    wallets.link(consumer, voter)
    read_governance()
    power = VotingPower.objects.get()
    assert (power.votes_wei, power.is_delegated_to_itself) == (1_000 * OPEN + 1, True)
    idle = wallets.new(1)
    assert read_voting_power(wallets.client, wallets.addresses.token, idle.address).votes_wei == 0


def test_a_chain_that_does_not_answer_is_written_down(wallets: Wallets, settings: Settings) -> None:
    read_governance()
    settings.CHAIN_RPC_URL = "http://127.0.0.1:1"
    with pytest.raises(ChainError):
        read_governance()
    reading = GovernanceReading.objects.get()
    assert reading.problem
    assert reading.read_at is not None  # the last good reading stays


def test_a_chain_of_before_votes_keeps_its_contracts_and_gets_the_new_ones(
    wallets: Wallets, settings: Settings
) -> None:
    addresses = contract_addresses()
    old = replace(addresses, governor="", timelock="", parameters="", staking="")
    old.save(settings.CHAIN_ADDRESSES_FILE)
    upgraded, is_new = deploy_contracts()
    assert (is_new, upgraded.token) == (True, addresses.token)
    assert upgraded.governor != addresses.governor
    assert chain_client().code_of(upgraded.staking)
    assert deploy_contracts() == (upgraded, False)
