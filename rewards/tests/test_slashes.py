"""A slash on a real chain: decided, announced, appealed or carried out, and what stakers lose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.errors import Conflict
from rewards.chain.calls import approve_call
from rewards.chain.local import LocalChain, LocalChainSettings, free_port
from rewards.chain.staking import (
    stake_call,
    start_unbonding_call,
    take_out_call,
)
from rewards.chain.transactions import Signer
from rewards.models import ChainTransaction, SlashCase, StakeTarget
from rewards.selectors.stakes import stakes_of, unbondings_of
from rewards.services import (
    advance_slashes,
    carry_out_overturned,
    decide_slash,
    overturn_slash,
    reconcile,
    send_transactions,
    watch_chain,
)
from rewards.services.sender import on_chain_id
from rewards.services.slashes import AppealOver, OwnDecision, SlashAboveCap, SlashUnderWay
from rewards.tests.conftest import OPEN, Wallets

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
SUBJECT = "datanet:00000000-0000-4000-8000-000000000001"
DECISION = "Dispute 7: 40 % of the rows were copied. See the record of the review."
APPEAL, UNBONDING = 600, 900


@pytest.fixture(scope="module")
def local_chain() -> Iterator[LocalChain]:
    """A chain of its own: these tests move its clock by hours."""
    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        yield chain


@pytest.fixture(autouse=True)
def _windows(settings: Settings) -> None:
    settings.STAKE_APPEAL_SECONDS, settings.STAKE_UNBONDING_SECONDS = APPEAL, UNBONDING


@pytest.fixture
def slasher(make_user: Callable[..., User]) -> User:
    return make_user("Sloane", is_staff=True)


@pytest.fixture
def arbiter(make_user: Callable[..., User]) -> User:
    return make_user("Ari", is_staff=True)


@pytest.fixture
def staker(wallets: Wallets, contributor: User) -> Signer:
    """Carla's wallet with 100 OPEN staked."""
    signer = wallets.new(100)
    wallets.link(contributor, signer)
    staking = wallets.addresses.staking
    wallets.send(signer, approve_call(wallets.addresses.token, staking, 100 * OPEN))
    wallets.send(signer, stake_call(staking, on_chain_id(SUBJECT), 100 * OPEN))
    see(wallets)
    return signer


def see(wallets: Wallets) -> None:
    for _ in range(2):
        advance_slashes()
        send_transactions()
        wallets.finalize()
        watch_chain()


def wait(wallets: Wallets, seconds: int) -> None:
    wallets.client.request("evm_increaseTime", seconds)
    wallets.client.request("evm_mine")


def be_due(case: SlashCase) -> None:
    """The site's own clock cannot be moved as the chain's can: the row's time is."""
    SlashCase.objects.filter(pk=case.pk).update(executable_at="2020-01-01T00:00Z")


def decide(slasher: User, amount_wei: int, decision: str = DECISION) -> SlashCase:
    owner, _ = User.objects.get_or_create(email="olga@example.org")
    return decide_slash(
        subject=SUBJECT,
        owner_id=owner.pk,
        amount_wei=amount_wei,
        decision=decision,
        actor=slasher,
    )


def announced(wallets: Wallets, slasher: User, amount_wei: int = 10 * OPEN) -> SlashCase:
    case = decide(slasher, amount_wei)
    see(wallets)
    case.refresh_from_db()
    assert (case.state, case.problem) == ("announced", "")
    return case


def test_a_slash_waits_for_its_window_and_then_costs_the_stakers(
    wallets: Wallets, staker: Signer, contributor: User, slasher: User
) -> None:
    case = announced(wallets, slasher)
    (stake,) = stakes_of(contributor)
    assert stake.slash_executable_at == case.executable_at is not None
    see(wallets)
    assert StakeTarget.objects.get().bonded_wei == 100 * OPEN  # the window is open
    wait(wallets, APPEAL + 1)
    be_due(case)
    see(wallets)
    case.refresh_from_db()
    assert case.state == "executed"
    (stake,) = stakes_of(contributor)
    assert (stake.bonded_wei, stake.slash_executable_at) == (90 * OPEN, None)
    treasury = wallets.client.balance_of(wallets.addresses.token, wallets.addresses.timelock)
    assert treasury == 10 * OPEN
    assert reconcile().ok


def test_an_arbiter_overturns_a_slash_and_nothing_is_lost(
    wallets: Wallets, staker: Signer, contributor: User, slasher: User, arbiter: User
) -> None:
    case = announced(wallets, slasher)
    with pytest.raises(OwnDecision):
        overturn_slash(case=case, reason="I was wrong.", actor=slasher)
    overturn_slash(case=case, reason="The rows were the owner's own.", actor=arbiter)
    see(wallets)
    case.refresh_from_db()
    assert (case.state, case.overturned_by) == ("overturned", arbiter)
    assert stakes_of(contributor)[0].bonded_wei == 100 * OPEN
    with pytest.raises(Conflict):  # the same decision does not count twice
        decide(slasher, OPEN)


def test_no_appeal_after_the_window(
    wallets: Wallets, staker: Signer, slasher: User, arbiter: User
) -> None:
    case = announced(wallets, slasher)
    be_due(case)
    with pytest.raises(AppealOver):
        overturn_slash(case=case, reason="Late.", actor=arbiter)


def test_what_an_arbiter_overturned_in_time_is_not_carried_out_though_the_chain_was_away(
    wallets: Wallets, staker: Signer, contributor: User, slasher: User, arbiter: User
) -> None:
    case = announced(wallets, slasher)
    overturn_slash(case=case, reason="The rows were the owner's own.", actor=arbiter)
    wait(wallets, APPEAL + 1)  # nothing was sent meanwhile
    be_due(case)
    see(wallets)
    see(wallets)
    case.refresh_from_db()
    assert case.state == "announced"
    assert "too late on the chain" in case.problem
    assert not ChainTransaction.objects.filter(purpose="execute-slash").exists()
    assert stakes_of(contributor)[0].bonded_wei == 100 * OPEN
    assert case.is_stranded
    carry_out_overturned(case=case, actor=arbiter)
    see(wallets)  # people come in and out again, and a vote gives the stake back
    case.refresh_from_db()
    assert case.state == "executed"
    with pytest.raises(Conflict, match="nothing is to be done"):
        carry_out_overturned(case=case, actor=arbiter)


@pytest.mark.parametrize("purpose", ["execute-slash", "overturn-slash"])
def test_a_step_that_failed_is_tried_again_after_a_while(
    wallets: Wallets, staker: Signer, slasher: User, arbiter: User, purpose: str
) -> None:
    case = announced(wallets, slasher)
    if purpose == "execute-slash":
        be_due(case)
        advance_slashes()
    else:
        overturn_slash(case=case, reason="The rows were the owner's own.", actor=arbiter)
    steps = ChainTransaction.objects.filter(purpose=purpose)
    steps.update(state="failed", problem="The contract refused it in its block.")
    advance_slashes()
    assert steps.count() == 1
    steps.update(created_at="2020-01-01T00:00Z")
    wait(wallets, (APPEAL + 1) * (purpose == "execute-slash"))
    see(wallets)
    assert steps.count() == 2
    case.refresh_from_db()
    assert case.state == ("executed" if purpose == "execute-slash" else "overturned")


def test_the_site_refuses_more_than_the_voted_cap_and_a_second_slash(
    wallets: Wallets, staker: Signer, slasher: User
) -> None:
    with pytest.raises(SlashAboveCap, match="At most 10 OPEN"):
        announced(wallets, slasher, 10 * OPEN + 1)
    announced(wallets, slasher)
    with pytest.raises(SlashUnderWay):
        decide(slasher, OPEN, "Another one.")


def test_a_slash_that_the_contract_refuses_says_so_and_can_be_made_again(
    wallets: Wallets, staker: Signer, slasher: User
) -> None:
    StakeTarget.objects.update(bonded_wei=1_000 * OPEN)  # read wrongly: the chain knows better
    case = decide(slasher, 50 * OPEN)
    see(wallets)
    case.refresh_from_db()
    assert case.state == "failed"
    assert "SlashAboveCap" in case.problem
    announced(wallets, slasher)


def test_who_is_leaving_is_slashed_too_and_takes_out_what_is_left(
    wallets: Wallets, staker: Signer, contributor: User, slasher: User
) -> None:
    staking, target = wallets.addresses.staking, on_chain_id(SUBJECT)
    wallets.send(staker, start_unbonding_call(staking, target, stakes_of(contributor)[0].shares))
    see(wallets)
    assert stakes_of(contributor) == []
    (leaving,) = unbondings_of(contributor)
    assert (leaving.amount_wei, leaving.is_ready) == (100 * OPEN, False)
    case = announced(wallets, slasher)
    wait(wallets, UNBONDING + 1)
    be_due(case)
    see(wallets)
    assert unbondings_of(contributor)[0].amount_wei == 90 * OPEN
    wallets.send(staker, take_out_call(staking, leaving.number))
    see(wallets)
    assert unbondings_of(contributor) == []
    assert wallets.client.balance_of(wallets.addresses.token, staker.address) == 90 * OPEN + 1


def test_a_slash_whose_block_left_the_chain_waits_to_be_announced_again(
    wallets: Wallets, staker: Signer, slasher: User
) -> None:
    snapshot = wallets.client.request("evm_snapshot")
    case = announced(wallets, slasher)
    wallets.client.request("evm_revert", snapshot)
    wallets.chain.mine(4)
    watch_chain()
    case.refresh_from_db()
    assert case.state == "decided"
    see(wallets)
    case.refresh_from_db()
    assert case.state == "announced"
