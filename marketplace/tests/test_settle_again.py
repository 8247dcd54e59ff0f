"""An answer that was delivered is settled, whatever became of the job that was to do it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db.models.functions import Now

from marketplace.models import Inference, Receipt
from marketplace.services import settle_again
from marketplace.tests.conftest import run_attempt
from openledger_site.accounts.models import User
from openledger_site.core.models import Job
from rewards.models import Hold, Settlement
from rewards.services import reconcile, spendable_wei
from rewards.services.ledger import void_hold

pytestmark = pytest.mark.django_db


def books_are_sound() -> bool:
    """But for the contracts, which these tests do without."""
    return not any(found for name, found in reconcile().problems.items() if name != "I4")


def end_job(inference: Inference, minutes_ago: int = 11, state: str = "failed") -> None:
    """As a job ends whose worker was killed over it five times, or that somebody stopped."""
    ended = {"state": state, "ended_at": Now() - timedelta(minutes=minutes_ago), "attempt": 6}
    Job.objects.filter(pk=inference.job_id).update(**ended)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_it_is_attributed_and_paid_by_another_job(
    answered: Inference, payer: User, state: str
) -> None:
    end_job(answered, state=state)
    first = answered.job_id
    assert [settle_again(), settle_again()] == [1, 0]
    answered.refresh_from_db()
    assert answered.job_id != first
    run_attempt(answered)
    assert answered.settled
    assert Receipt.objects.get().body["evidence"]["influence"]
    assert books_are_sound()


def test_what_kills_every_worker_is_paid_without_attribution(answered: Inference) -> None:
    for _ in range(2):
        end_job(answered)
        assert settle_again() == 1
        answered.refresh_from_db()
    run_attempt(answered)
    assert answered.settled
    evidence = Receipt.objects.get().body["evidence"]
    assert (evidence["influence"], evidence["influence_missing"]) == (None, "failed")
    settlement = Settlement.objects.get()
    assert settlement.contributors_wei == 0 < settlement.reserve_wei
    assert books_are_sound()


def test_what_is_not_held_any_more_ends(answered: Inference, payer: User) -> None:
    """Its consumer may erase it and close the account."""
    before = spendable_wei(payer) + answered.hold.amount_wei
    void_hold(answered.hold)
    end_job(answered)
    assert settle_again() == 1
    answered.refresh_from_db()
    assert (answered.state, answered.error_code) == ("failed", "never_settled")
    assert spendable_wei(payer) == before
    assert Hold.objects.get(pk=answered.hold_id).state == Hold.State.VOIDED


def test_a_job_under_way_or_ended_a_moment_ago_is_left_alone(
    answered: Inference, settings: LazySettings
) -> None:
    assert settle_again() == 0
    end_job(answered, minutes_ago=1)
    assert settle_again() == 0
