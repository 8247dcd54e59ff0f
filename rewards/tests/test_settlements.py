"""A fee reaches everybody who had a part in the answer, to the wei and once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.errors import DomainError
from rewards.models import (
    Account,
    EarningLine,
    Hold,
    ParameterChange,
    Settlement,
    SplitParameters,
)
from rewards.selectors import earnings_summary, spendable_wei
from rewards.services import (
    HoldResolved,
    MakerPart,
    PostingDiffers,
    RefundTooLate,
    place_hold,
    refund_answer,
    release_earnings,
    settle_answer,
    split_parameters,
)
from rewards.services.ledger import system_account

pytestmark = pytest.mark.django_db
Fund = Callable[[User, int], None]
Settle = Callable[..., Settlement]


@pytest.fixture
def hold(consumer: User, fund: Fund) -> Hold:
    fund(consumer, 2_000_003)
    return place_hold(consumer, 1_500_000, key="answer", reason="Answer")


@pytest.fixture
def settle(hold: Hold, builder: User, contributor: User, owner: User) -> Settle:
    def settle(**changes: object) -> Settlement:
        given = {
            "hold": hold,
            "key": "answer-1",
            "fee_wei": 1_000_003,
            "builder": builder,
            "contributor_shares": [(contributor.pk, 2), (owner.pk, 1)],
            "reason": "Answer",
            "source_url": "/receipts/1/",
        }
        return settle_answer(**(given | changes))  # type: ignore[arg-type]

    return settle


def decide(*, version: int, from_epoch: int, holding_seconds: int = 60) -> SplitParameters:
    """What the watcher writes for a final vote; the way there is tested in test_governance."""
    change = ParameterChange.objects.create(
        chain_id=31337,
        transaction_hash=f"0x{version:064x}",
        log_index=0,
        block_number=version,
        block_hash=f"0x{version:064x}",
        contract="0x" + "1" * 40,
        version=version,
        from_epoch=from_epoch,
        contributors_bps=0,
        builder_bps=9_000,
        stakers_bps=500,
        platform_bps=500,
        holding_seconds=holding_seconds,
        slashing_cap_bps=1_000,
    )
    return SplitParameters.objects.create(
        version=version,
        change=change,
        effective_from_epoch=from_epoch,
        contributors_ppm=0,
        builder_ppm=900_000,
        holding_seconds=holding_seconds,
    )


def let_mature() -> None:
    EarningLine.objects.update(matures_at=Now() - timedelta(seconds=1))


def test_every_part_is_exact_and_the_rest_of_the_hold_is_free(
    settle: Settle, consumer: User, builder: User, contributor: User, owner: User
) -> None:
    settlement = settle()
    assert (settlement.contributors_wei, settlement.builder_wei) == (700_002, 200_000)
    assert (settlement.stakers_wei, settlement.platform_wei, settlement.dust_wei) == (
        50_000,
        50_000,
        1,
    )
    held = [earnings_summary(user).holding_wei for user in (builder, contributor, owner)]
    assert held == [200_000, 466_668, 233_334]
    assert spendable_wei(consumer) == 1_000_000


def test_what_a_maker_asked_is_paid_first_and_the_rest_is_cut_as_without(
    settle: Settle, stranger: User
) -> None:
    settlement = settle(fee_wei=1_400_003, maker=MakerPart(stranger.pk, 400_000))
    assert (settlement.contributors_wei, settlement.builder_wei) == (700_002, 200_000)
    assert (settlement.maker_wei, settlement.dust_wei) == (400_000, 1)
    assert earnings_summary(stranger).holding_wei == 400_000


@pytest.mark.parametrize("amount", [-1, 1_000_004])
def test_a_makers_part_outside_the_fee_is_refused(
    settle: Settle, stranger: User, amount: int
) -> None:
    with pytest.raises(DomainError):
        settle(maker=MakerPart(stranger.pk, amount))
    assert not Settlement.objects.exists()


def test_the_same_key_settles_once(settle: Settle, consumer: User) -> None:
    assert settle() == settle()
    assert spendable_wei(consumer) == 1_000_000


def test_the_same_key_with_another_fee_is_refused(settle: Settle) -> None:
    settle()
    with pytest.raises(PostingDiffers):
        settle(fee_wei=5)


def test_a_hold_pays_one_answer_only(settle: Settle) -> None:
    settle()
    with pytest.raises(HoldResolved):
        settle(key="answer-2")


@pytest.mark.parametrize("fee_wei", [-1, 1_500_001])
def test_a_fee_outside_the_hold_is_refused(settle: Settle, consumer: User, fee_wei: int) -> None:
    with pytest.raises(DomainError, match="not within"):
        settle(fee_wei=fee_wei)
    assert spendable_wei(consumer) == 500_003


def test_without_attributable_sources_the_reserve_gets_the_part(settle: Settle) -> None:
    settlement = settle(contributor_shares=[])
    assert (settlement.contributors_wei, settlement.reserve_wei) == (0, 700_002)
    assert system_account(Account.Kind.RESERVE).balance_wei == 700_002


def test_without_a_builder_the_platform_gets_the_part(settle: Settle) -> None:
    settlement = settle(builder=None)
    assert (settlement.builder_wei, settlement.platform_wei) == (0, 250_000)


def test_a_free_answer_frees_the_hold(settle: Settle, consumer: User) -> None:
    assert settle(fee_wei=0).transaction is None
    assert spendable_wei(consumer) == 2_000_003


def test_a_payer_who_contributed_gets_a_share_and_still_loses(
    settle: Settle, consumer: User
) -> None:
    settle(contributor_shares=[(consumer.pk, 1)], builder=consumer)
    assert earnings_summary(consumer).holding_wei == 900_002
    assert spendable_wei(consumer) + 900_002 < 2_000_003


def test_earnings_are_payable_after_the_refund_window(settle: Settle, contributor: User) -> None:
    settle()
    assert release_earnings() == 0
    let_mature()
    assert release_earnings() == 3
    assert release_earnings() == 0
    assert earnings_summary(contributor).payable_wei == 466_668


def test_a_refund_gives_the_whole_fee_back_once(settle: Settle, consumer: User) -> None:
    settle()
    assert refund_answer("answer-1") == refund_answer("answer-1")
    assert spendable_wei(consumer) == 2_000_003
    let_mature()
    assert release_earnings() == 0


def test_a_refund_after_the_window_is_refused(settle: Settle, consumer: User) -> None:
    settle()
    let_mature()
    release_earnings()
    with pytest.raises(RefundTooLate):
        refund_answer("answer-1")
    assert spendable_wei(consumer) == 1_000_000


def test_new_parameters_count_from_their_epoch_on(settle: Settle) -> None:
    first = split_parameters()
    decide(version=2, from_epoch=2)
    assert settle().parameters == first
    decide(version=3, from_epoch=1)
    assert split_parameters().version == 3


def test_a_vote_whose_block_left_the_chain_is_not_in_force(settle: Settle) -> None:
    decide(version=2, from_epoch=1)
    assert split_parameters().version == 2
    ParameterChange.objects.update(state="voided")
    assert settle().parameters.version == 1


def test_the_governed_holding_time_replaces_the_setting(settle: Settle, settings: Settings) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 10_000
    decide(version=2, from_epoch=1, holding_seconds=0)
    settle()
    assert release_earnings() == 1


def test_nothing_but_a_vote_changes_the_parameters() -> None:
    split_parameters()
    with pytest.raises(IntegrityError, match="come_from_a_vote"), transaction.atomic():
        SplitParameters.objects.create(version=2)
    change = decide(version=2, from_epoch=5).change
    for differs in ({"platform_ppm": 0, "stakers_ppm": 100_000}, {"effective_from_epoch": 4}):
        given = {"contributors_ppm": 0, "builder_ppm": 900_000, "effective_from_epoch": 5} | differs
        with pytest.raises(IntegrityError, match="differ from the vote"), transaction.atomic():
            SplitParameters.objects.create(version=3, change=change, holding_seconds=60, **given)
