"""What raw SQL can do to rows beside the ledger, with every trigger off, shows in the check."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import F

from openledger_site.accounts.models import User
from rewards.models import Account, Deposit, EarningLine, Epoch, EpochPayout
from rewards.services.ledger import post, system_account, user_account
from rewards.services.reconcile import _BOOK_CHECKS
from rewards.tests.conftest import OPEN, Fund, settled

pytestmark = pytest.mark.django_db
Kind = Account.Kind


def problems() -> set[str]:
    return {name for name, check in _BOOK_CHECKS.items() if check()}


@pytest.fixture
def earned(fund: Fund, consumer: User, builder: User, contributor: User) -> User:
    """Carla has earned something that is still in its refund window."""
    fund(consumer, 9 * OPEN)
    settled(consumer, builder, contributor, "answer")
    assert problems() == set()
    return contributor


@pytest.fixture
def paid(earned: User) -> EpochPayout:
    """What Carla earned, claimable since epoch 1."""
    address, share = "0x" + "1" * 40, OPEN * 70 // 100
    posted = post(
        key="epoch:1",
        kind="epoch",
        legs=[
            (user_account(earned, Kind.HOLDING), -share),
            (user_account(earned, Kind.CLAIMABLE), share),
        ],
        reason="Epoch 1",
    )
    EarningLine.objects.filter(user=earned).update(state="payable", moved_by=posted)
    epoch = Epoch.objects.create(
        number=1, state="active", root="0x" + "2" * 64, leaves=1, amount_wei=share,
        total_wei=share, leaf_file="3" * 64, distributor="0x" + "4" * 40, chain_id=31337,
        transaction=posted,
    )  # fmt: skip
    row = EpochPayout.objects.create(
        epoch=epoch, user=earned, address=address, amount_wei=share, cumulative_wei=share
    )
    assert problems() == set()
    return row


def test_an_earning_that_was_turned_to_somebody_else(earned: User, stranger: User) -> None:
    EarningLine.objects.filter(user=earned).update(user=stranger)
    assert problems() == {"I5"}


def test_an_earning_that_is_said_to_be_still_held_back(paid: EpochPayout) -> None:
    """The next release would move it once more, out of what others are held."""
    EarningLine.objects.filter(user=paid.user).update(state="holding", moved_by=None)
    assert problems() == {"I5"}


def test_wei_moved_between_two_people_under_one_posting(earned: User, stranger: User) -> None:
    other = user_account(stranger, Kind.HOLDING)
    mine = user_account(earned, Kind.HOLDING)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE rewards_entry DISABLE TRIGGER USER")
        cursor.execute("ALTER TABLE rewards_account DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE rewards_entry SET account_id = %s WHERE account_id = %s", [other.pk, mine.pk]
        )
        cursor.execute(
            "UPDATE rewards_account SET balance_wei = %s - balance_wei WHERE id IN (%s, %s)",
            [OPEN * 70 // 100, other.pk, mine.pk],
        )
        cursor.execute("ALTER TABLE rewards_account ENABLE TRIGGER USER")
        cursor.execute("ALTER TABLE rewards_entry ENABLE TRIGGER USER")
    assert problems() == {"I5"}


@pytest.mark.parametrize(
    "change",
    [
        {"amount_wei": F("amount_wei") + 1, "cumulative_wei": F("cumulative_wei") + 1},
        {"cumulative_wei": F("cumulative_wei") + 1},
    ],
)
def test_a_payout_that_promises_more_than_was_posted(
    paid: EpochPayout, change: dict[str, F]
) -> None:
    EpochPayout.objects.update(**change)
    assert problems() == {"I5"}


def test_a_debt_that_was_forgotten(fund: Fund, consumer: User) -> None:
    fund(consumer, OPEN)
    posted = post(
        key="void",
        kind="deposit_void",
        legs=[(system_account(Kind.CUSTODY), OPEN), (system_account(Kind.REORG_DEBT), -OPEN)],
        reason="The block of this deposit left the chain",
    )
    deposit = Deposit.objects.create(
        chain_id=31337, transaction_hash="0x" + "1" * 64, log_index=1, block_number=1,
        block_hash="0x" + "2" * 64, address="0x" + "3" * 40, amount_wei=OPEN, user=consumer,
        state="voided", transaction=posted, debt_wei=OPEN,
    )  # fmt: skip
    assert problems() == set()
    Deposit.objects.filter(pk=deposit.pk).update(debt_wei=0)
    assert problems() == {"I3"}
