"""The stakers' part on a real chain: from a paid answer to a staker's wallet, once, to the wei."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.waiting import rounds
from rewards.chain.calls import approve_call
from rewards.chain.local import LocalChain, LocalChainSettings, free_port
from rewards.chain.staking import (
    collect_income_call,
    income_wei,
    read_position,
    stake_call,
    start_unbonding_call,
    worth_wei,
)
from rewards.chain.transactions import Signer
from rewards.models import (
    Account,
    ChainTransaction,
    IncomePayment,
    IncomeRound,
    Settlement,
    StakePosition,
    StakerShare,
    StakeTarget,
)
from rewards.services import (
    advance_income,
    income_books,
    name_target,
    pay_stakers,
    place_hold,
    plan_income_round,
    reconcile,
    refund_answer,
    release_earnings,
    send_transactions,
    sender,
    settle_answer,
    stake_income,
    stakes,
    watch_chain,
)
from rewards.services.ledger import system_account
from rewards.services.refunds import ask_refund, decide_refund
from rewards.services.sender import on_chain_id
from rewards.services.settlements import RefundTooLate, split_stakers_part
from rewards.tests.conftest import OPEN, Wallets

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
DATANET = "datanet:00000000-0000-4000-8000-000000000001"
OTHER = "datanet:00000000-0000-4000-8000-000000000002"
FEE = OPEN // 3  # leaves remainders everywhere


@pytest.fixture(scope="module")
def local_chain() -> Iterator[LocalChain]:
    """A chain of its own: these tests rewind it."""
    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        yield chain


@pytest.fixture(autouse=True)
def _no_waiting(settings: Settings) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 0


@pytest.fixture
def funded(wallets: Wallets, consumer: User) -> Wallets:
    signer = wallets.new(10)
    wallets.link(consumer, signer)
    wallets.deposit(signer, 10 * OPEN)
    see(wallets)
    return wallets


Pay = Callable[..., Settlement]


@pytest.fixture
def pay(funded: Wallets, consumer: User, builder: User, contributor: User) -> Pay:
    count = iter(range(1_000))

    def settle(*targets: tuple[str, int]) -> Settlement:
        key = f"answer-{next(count)}"
        return settle_answer(
            hold=place_hold(consumer, OPEN, key=key, reason="Answer"),
            key=key,
            fee_wei=FEE,
            builder=builder,
            contributor_shares=[(contributor.pk, 1)],
            reason="Answer",
            source_url="",
            stake_targets=targets,
        )

    return settle


def see(wallets: Wallets) -> None:
    wallets.finalize()
    watch_chain()


def put_stake(wallets: Wallets, amount_open: int, subject: str = DATANET) -> Signer:
    signer = wallets.new(amount_open)
    staking = wallets.addresses.staking
    wallets.send(signer, approve_call(wallets.addresses.token, staking, amount_open * OPEN))
    wallets.send(signer, stake_call(staking, on_chain_id(subject), amount_open * OPEN))
    see(wallets)
    return signer


def until_done(wallets: Wallets) -> IncomeRound:
    """What the clock does, again and again, until the round is in the books."""
    for _ in rounds(60, pause_seconds=0.01):
        advance_income()
        send_transactions()
        see(wallets)
        open_rounds = IncomeRound.objects.exclude(state="done")
        if not open_rounds and not IncomePayment.objects.filter(state="due"):
            break
    last = IncomeRound.objects.first()
    assert last is not None
    assert last.state == "done", last.problem
    return last


def balance(kind: Account.Kind) -> int:
    return int(system_account(kind).balance_wei)


def collected(wallets: Wallets, signer: Signer, subject: str = DATANET) -> int:
    token = wallets.addresses.token
    before = wallets.client.balance_of(token, signer.address)
    wallets.send(signer, collect_income_call(wallets.addresses.staking, on_chain_id(subject)))
    return wallets.client.balance_of(token, signer.address) - before


def test_a_paid_answer_reaches_the_stakers_wallets_to_the_wei(funded: Wallets, pay: Pay) -> None:
    large, small = put_stake(funded, 300), put_stake(funded, 100)
    settlement = pay((DATANET, 7), (OTHER, 2))
    part = split_stakers_part(settlement.stakers_wei, [(DATANET, 7), (OTHER, 2)])
    assert sum(part.values()) == settlement.stakers_wei == FEE // 20
    round_ = plan_income_round()
    assert round_ is not None
    assert (round_.targets_wei, round_.treasury_wei) == (part[DATANET], part[OTHER])
    until_done(funded)
    shares = [collected(funded, large), collected(funded, small)]
    assert shares == [part[DATANET] * 3 // 4, part[DATANET] // 4]
    treasury = funded.client.balance_of(funded.addresses.token, funded.addresses.timelock)
    assert treasury == part[OTHER]
    assert (balance(Account.Kind.STAKERS), balance(Account.Kind.STAKERS_DUE)) == (0, 0)
    see(funded)
    report = reconcile()
    assert report.ok, report.as_dict()
    assert report.figures["paid_to_stakers_wei"] == part[DATANET]


def test_the_pages_figures_are_the_contracts_own(funded: Wallets, pay: Pay) -> None:
    signer = put_stake(funded, 300)
    pay((DATANET, 1))
    plan_income_round()
    until_done(funded)
    staking, target = funded.addresses.staking, on_chain_id(DATANET)
    kept = StakeTarget.objects.get()
    position = read_position(funded.client, staking, target, signer.address, "latest")
    row = StakePosition.objects.get(account=signer.address)
    assert (row.shares, row.income_owed_wei) == (position.shares, position.income_owed_wei)

    def ask(name: str) -> int:
        arguments: list[Any] = [target, signer.address]
        return int(funded.client.read(staking, name, arguments, ["uint256"], "latest")[0])

    worth = worth_wei(kept.bonded_wei, kept.bonded_shares, row.shares)
    assert worth == ask("bondedOf(bytes32,address)") == 300 * OPEN
    assert income_wei(position, kept.income_index) == ask("incomeOf(bytes32,address)") > 0


def test_what_nobody_staked_on_goes_to_the_treasury_and_never_to_a_late_first_staker(
    funded: Wallets, pay: Pay
) -> None:
    name_target(DATANET)
    settlement = pay((DATANET, 1))
    unnamed = pay()
    plan_income_round()
    late = put_stake(funded, 5)
    until_done(funded)
    parts = settlement.stakers_wei + unnamed.stakers_wei
    token, treasury = funded.addresses.token, funded.addresses.timelock
    assert funded.client.balance_of(token, treasury) == parts
    position = StakePosition.objects.get(account=late.address)
    assert (position.income_index, StakeTarget.objects.get().income_index) == (0, 0)
    assert reconcile().ok


def test_a_target_that_everybody_left_in_between_is_paid_by_the_next_round(
    funded: Wallets, pay: Pay
) -> None:
    signer = put_stake(funded, 5)
    settlement = pay((DATANET, 1))
    plan_income_round()
    staking, target = funded.addresses.staking, on_chain_id(DATANET)
    shares = StakePosition.objects.get().shares
    funded.send(signer, start_unbonding_call(staking, target, shares))
    until_done(funded)
    assert IncomePayment.objects.get().state == "returned"
    assert stake_income.float_wei(31337) == settlement.stakers_wei  # ours to pay, in our wallet
    assert reconcile().ok
    second = plan_income_round()
    assert second is not None
    assert second.treasury_wei == settlement.stakers_wei
    until_done(funded)
    put_stake(funded, 5)
    pay((DATANET, 1))
    third = plan_income_round()
    assert third is not None
    assert third.withdraw_wei == 0  # the rest is used first
    until_done(funded)
    assert stake_income.float_wei(31337) == 0
    assert reconcile().ok


def test_a_refund_takes_the_part_back_before_and_is_too_late_after(
    pay: Pay, funded: Wallets, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 600
    first, second = pay((DATANET, 1)), pay((DATANET, 1))
    refund_answer(first.key)
    assert balance(Account.Kind.STAKERS) == second.stakers_wei
    StakerShare.objects.update(matures_at=Now())
    round_ = plan_income_round()
    assert round_ is not None
    assert round_.treasury_wei == second.stakers_wei
    with pytest.raises(RefundTooLate):
        refund_answer(second.key)


def test_no_refund_takes_from_the_part_of_another_answer(
    pay: Pay, funded: Wallets, settings: Settings
) -> None:
    """The pool could pay it, out of what waits for the stakers of a later answer."""
    settings.EARNINGS_HOLDING_SECONDS = 600
    first = pay((DATANET, 1))
    StakerShare.objects.update(matures_at=Now())
    assert plan_income_round() is not None
    later = pay((DATANET, 1))
    with pytest.raises(RefundTooLate):
        refund_answer(first.key)
    assert balance(Account.Kind.STAKERS) == later.stakers_wei


@pytest.mark.parametrize("grant", [True, False])
def test_while_a_refund_is_being_decided_the_stakers_part_waits_too(
    pay: Pay,
    funded: Wallets,
    consumer: User,
    make_user: Callable[..., User],
    settings: Settings,
    grant: bool,
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 600
    asked, other = pay((DATANET, 1)), pay((DATANET, 1))
    request = ask_refund(asked.key, asked_by=consumer, reason="unusable")
    StakerShare.objects.update(matures_at=Now())  # the window of both is over
    round_ = plan_income_round()
    assert round_ is not None
    assert round_.treasury_wei == other.stakers_wei
    decide_refund(request, decided_by=make_user("Stella", is_staff=True), grant=grant)
    assert balance(Account.Kind.STAKERS) == (0 if grant else asked.stakers_wei)
    until_done(funded)
    assert (plan_income_round() is None) is grant


def test_nothing_leaves_before_the_refund_window_is_over(
    pay: Pay, funded: Wallets, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 600
    pay((DATANET, 1))
    assert plan_income_round() is None
    assert StakerShare.objects.get().payment is None


def test_one_round_at_a_time_and_one_an_interval(
    pay: Pay, funded: Wallets, settings: Settings
) -> None:
    pay((DATANET, 1))
    assert pay_stakers() is not None
    pay((DATANET, 1))
    assert plan_income_round() is None  # one is open
    until_done(funded)
    assert pay_stakers() is None  # the last is young
    settings.STAKE_ROUND_SECONDS = 0
    assert pay_stakers() is not None


KILLS = [
    (stake_income, "_set_aside"),
    (stake_income, "_take"),
    (stake_income, "_approve"),
    (stake_income, "_pay_in"),
    (stake_income, "queue_transaction"),
    (sender, "_store"),
    (sender, "_broadcast"),
    (sender, "_book_receipt"),
    (income_books, "_leave"),
    (stakes, "_apply"),
    (stakes, "read_target"),
]


class Killed(BaseException):
    """As kill -9: nothing of ours runs after it."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_step_pays_once(
    funded: Wallets, pay: Pay, monkeypatch: pytest.MonkeyPatch, is_after: bool
) -> None:
    put_stake(funded, 300)
    for number, (module, name) in enumerate(KILLS, 1):
        settlement = pay((DATANET, 1), (OTHER, 1))
        with monkeypatch.context() as patched:
            kills = deadly(patched, module, name, is_after)
            live_through_kills(funded, number)
        assert kills, f"{name} was never reached"
        payments = IncomePayment.objects.filter(round__number=number)
        assert set(payments.values_list("state", flat=True)) == {"paid"}, name
        assert sum(payment.amount_wei for payment in payments) == settlement.stakers_wei
        assert ChainTransaction.objects.filter(purpose="income").count() == number, name
    report = reconcile()
    assert report.ok, report.as_dict()
    paid = IncomePayment.objects.exclude(target="").values_list("amount_wei", flat=True)
    assert report.figures["paid_to_stakers_wei"] == sum(paid)


def live_through_kills(wallets: Wallets, number: int) -> None:
    """Start again after each kill, as the clock does, until this round is in the books."""
    for _ in rounds(60, pause_seconds=0.01):
        try:
            if not IncomeRound.objects.filter(number=number).exists():
                plan_income_round()
            until_done(wallets)
            return
        except Killed:
            continue


def deadly(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, is_after: bool) -> list[str]:
    """Die at every first, third and fifth call, before the step or just after it."""
    kills: list[str] = []
    whole, calls = getattr(module, name), iter(range(1_000_000))

    def step(*given: Any, **named: Any) -> Any:
        dies = next(calls) in (0, 2, 4)
        if dies and not is_after:
            kills.append(name)
            raise Killed
        found = whole(*given, **named)
        if dies:
            kills.append(name)
            raise Killed
        return found

    monkeypatch.setattr(module, name, step)
    steps = getattr(module, "_STEPS", {})
    for state, function in list(steps.items()):
        if function is whole:
            monkeypatch.setitem(steps, state, step)
    return kills


def test_a_payment_whose_block_left_the_chain_is_undone_and_made_again(
    funded: Wallets, pay: Pay
) -> None:
    put_stake(funded, 300)
    settlement = pay((DATANET, 1), (OTHER, 1))
    snapshot = funded.client.request("evm_snapshot")
    plan_income_round()
    until_done(funded)
    custody = balance(Account.Kind.CUSTODY)
    funded.client.request("evm_revert", snapshot)
    funded.chain.mine(4)
    watch_chain()
    assert set(IncomePayment.objects.values_list("state", flat=True)) == {"due"}
    assert balance(Account.Kind.CUSTODY) == custody - settlement.stakers_wei
    pay((DATANET, 1))
    assert plan_income_round() is None  # what is due again comes first
    until_done(funded)
    assert set(IncomePayment.objects.values_list("state", flat=True)) == {"paid"}
    assert balance(Account.Kind.CUSTODY) == custody
    assert reconcile().ok


def test_a_stake_whose_block_left_the_chain_is_gone(funded: Wallets) -> None:
    snapshot = funded.client.request("evm_snapshot")
    put_stake(funded, 7)
    assert StakeTarget.objects.get().bonded_wei == 7 * OPEN
    funded.client.request("evm_revert", snapshot)
    funded.chain.mine(4)
    watch_chain()
    assert StakeTarget.objects.get().bonded_wei == StakePosition.objects.get().shares == 0


def test_a_gift_to_stakers_is_nobodys_debt_and_breaks_no_check(funded: Wallets) -> None:
    from rewards.chain.staking import add_income_call

    put_stake(funded, 7)
    giver, staking = funded.new(3), funded.addresses.staking
    funded.send(giver, approve_call(funded.addresses.token, staking, OPEN))
    funded.send(giver, add_income_call(staking, on_chain_id(DATANET), OPEN))
    see(funded)
    report = reconcile()
    assert report.ok, report.as_dict()
    assert report.figures["paid_to_stakers_wei"] == 0


def test_a_wei_missing_from_the_pool_is_found(pay: Pay, funded: Wallets) -> None:
    from django.db import connection

    pay((DATANET, 1))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rewards_stakershare DISABLE TRIGGER USER")
        cursor.execute("UPDATE rewards_stakershare SET amount_wei = amount_wei - 1")
        cursor.execute("ALTER TABLE rewards_stakershare ENABLE TRIGGER USER")
    assert len(reconcile().problems["I8"]) == 2


def test_release_leaves_the_stakers_part_alone(pay: Pay, funded: Wallets) -> None:
    settlement = pay((DATANET, 1))
    release_earnings()
    assert balance(Account.Kind.STAKERS) == settlement.stakers_wei
