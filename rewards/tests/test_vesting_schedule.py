"""The schedule of grants: to the wei that of the contract, and months that add up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openledger_site.core.money import WEI_PER_OPEN
from rewards.chain.calls import approve_call, mint_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, send_and_wait
from rewards.chain.transactions import Signer
from rewards.chain.vesting import grant_call, grants_made
from rewards.services.chain import operator_signer
from rewards.tests.conftest import Wallets
from rewards.vesting import Schedule, unlocks_by_month

DAY = 86_400
YEARS_20 = 20 * 365 * DAY
NOW = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())

schedules = st.builds(
    lambda start, duration, part: Schedule(start, duration * part // 1000, duration),
    st.integers(NOW - YEARS_20 // 2, NOW + YEARS_20 // 2),
    st.integers(1, YEARS_20),
    st.integers(0, 1000),
)
amounts = st.integers(1, 10**27)
grants = st.lists(st.tuples(schedules, amounts), min_size=1, max_size=5)


@given(schedules, amounts, st.integers(0, 2**40), st.integers(0, 2**40))
def test_more_time_never_unlocks_less_and_never_more_than_all(
    schedule: Schedule, amount_wei: int, first: int, second: int
) -> None:
    early, late = sorted((first, second))
    assert 0 <= schedule.unlocked_wei(amount_wei, early) <= schedule.unlocked_wei(amount_wei, late)
    assert schedule.unlocked_wei(amount_wei, late) <= amount_wei
    assert schedule.unlocked_wei(amount_wei, schedule.cliff - 1) == 0
    assert schedule.unlocked_wei(amount_wei, schedule.end) == amount_wei


@given(grants)
def test_months_follow_each_other_and_add_up_to_all_of_it(
    known: list[tuple[Schedule, int]],
) -> None:
    months = unlocks_by_month(known)
    assert sum(month.added_wei for month in months) == sum(wei for _, wei in known)
    assert months[-1].unlocked_wei == sum(wei for _, wei in known)
    assert all(month.added_wei >= 0 for month in months)
    numbers = [month.month.year * 12 + month.month.month for month in months]
    assert numbers == list(range(numbers[0], numbers[0] + len(months)))


def test_without_grants_there_are_no_months() -> None:
    assert unlocks_by_month([]) == []


def test_a_year_of_cliff_unlocks_a_quarter_of_four_years() -> None:
    start = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    months = unlocks_by_month([(Schedule(start, 365 * DAY, 4 * 365 * DAY), 400 * WEI_PER_OPEN)])
    assert [month.unlocked_wei for month in months[:11]] == [0] * 11
    # The end of December 2027 is 365 days after the start, to the second.
    assert months[11].unlocked_wei == 100 * WEI_PER_OPEN


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(180)
def test_the_contract_unlocks_the_same_to_the_wei(wallets: Wallets) -> None:
    """On a chain: grants of any schedule, asked for any times, and for the edges."""
    client, at, signer = wallets.client, wallets.addresses, operator_signer()
    count = iter(range(1, 10**6))

    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    # All examples together stay below what may ever be minted.
    @given(schedules, st.integers(1, 10**23), st.lists(st.integers(0, 2**40), max_size=5))
    def compare(schedule: Schedule, amount_wei: int, times: list[int]) -> None:
        wallet = _granted(client, at, signer, next(count), amount_wei, schedule)
        edges = [schedule.start, schedule.cliff, schedule.cliff - 1, schedule.end, schedule.end - 1]
        for time in [*times, *edges]:
            asked: list[object] = [at.token, time]
            signature = "vestedAmount(address,uint64)"
            (found,) = client.read(wallet, signature, asked, ["uint256"], "latest")
            assert found == schedule.unlocked_wei(amount_wei, time)

    compare()


def _granted(
    client: ChainClient, at: Addresses, signer: Signer, number: int, wei: int, schedule: Schedule
) -> str:
    """The wallet of a new grant."""
    send_and_wait(client, signer, mint_call(at.token, signer.address, wei))
    send_and_wait(client, signer, approve_call(at.token, at.vesting, wei))
    beneficiary = "0x" + "9" * 40
    call = grant_call(at.vesting, number.to_bytes(32), beneficiary, wei, schedule)
    block = send_and_wait(client, signer, call).block_number
    (made,) = grants_made(client, at.vesting, block, block)
    assert (made.amount_wei, made.schedule) == (wei, schedule)
    return made.wallet
