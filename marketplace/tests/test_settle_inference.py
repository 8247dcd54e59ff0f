"""After the answer: the fee reaches everybody who had a part in it, to the wei, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pgtrigger
import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client

from datanets.models import Record
from marketplace.models import Inference, Receipt
from marketplace.services import settle_inference
from marketplace.services.check_receipts import check_receipts
from marketplace.tests.conftest import ROWS, World, record_id, run_attempt
from openledger_site.accounts.models import User
from openledger_site.core.jobs import Lease, LeaseLost
from openledger_site.core.models import Job
from openledger_site.core.money import WEI_PER_OPEN
from rewards.chain.staking import target_id
from rewards.models import EarningLine, Hold, Settlement, StakerShare, StakeTarget
from rewards.services import reconcile, spendable_wei

pytestmark = pytest.mark.django_db


def test_the_parts_sum_to_the_fee_to_the_wei(settled: Inference) -> None:
    settlement = Settlement.objects.get()
    parts = ("contributors", "reserve", "builder", "stakers", "platform", "dust")
    assert sum(getattr(settlement, f"{part}_wei") for part in parts) == settled.fee_wei > 0


def test_the_payer_pays_the_fee_and_gets_the_rest_of_the_hold_back(
    answered: Inference, payer: User
) -> None:
    before = spendable_wei(payer) + answered.hold.amount_wei
    run_attempt(answered)
    assert spendable_wei(payer) == before - answered.fee_wei
    assert Hold.objects.get(pk=answered.hold_id).state == Hold.State.POSTED


def test_who_asked_cannot_stop_what_makes_them_pay(
    answered: Inference, payer: User, as_user: Callable[[User], Client]
) -> None:
    as_user(payer).post(f"/jobs/{answered.job_id}/cancel/")
    run_attempt(answered)
    assert answered.settled


def test_the_owner_of_the_row_that_was_recited_earns_most_and_is_named(
    settled: Inference, world: World
) -> None:
    row = Record.objects.select_related("contribution__contributor").get(
        public_id=record_id(world.question)
    )
    owner = row.contribution.contributor
    people = Receipt.objects.get().body["contributors"]
    assert max(people, key=lambda p: p["weight"])["user"] == str(owner.public_id)
    assert EarningLine.objects.filter(user=owner, role="contributor").exists()


def test_the_receipt_and_the_books_say_the_same(settled: Inference) -> None:
    people = Receipt.objects.get().body["contributors"]
    lines = EarningLine.objects.filter(role="contributor").select_related("user")
    booked = {str(line.user.public_id): line.amount_wei for line in lines}
    assert {p["user"]: int(p["wei"]) for p in people if int(p["wei"])} == booked


def test_the_builder_earns_the_builders_part(settled: Inference, builder: User) -> None:
    line = EarningLine.objects.get(user=builder, role="builder")
    assert line.amount_wei == Settlement.objects.get().builder_wei


def test_a_repeated_job_settles_once(settled: Inference) -> None:
    Job.objects.filter(pk=settled.job_id).update(state="queued", ended_at=None)
    run_attempt(settled, attempt=2)
    assert (Settlement.objects.count(), Receipt.objects.count()) == (1, 1)


def test_a_worker_that_lost_its_lease_settles_nothing(answered: Inference) -> None:
    job = Job.objects.get(pk=answered.job_id)
    with pytest.raises(LeaseLost):
        settle_inference(Lease(job))  # never claimed
    assert not Settlement.objects.exists()


def test_attribution_that_failed_is_tried_again_before_anything_is_paid(
    answered: Inference, settings: LazySettings, tmp_path: Path
) -> None:
    settings.ADAPTERS_DIR = tmp_path / "nowhere"
    run_attempt(answered, attempt=1)
    assert not Settlement.objects.exists()
    assert answered.state == Inference.State.ANSWERED


def test_attribution_that_failed_every_time_pays_the_contributors_reserve(
    answered: Inference, settings: LazySettings, tmp_path: Path
) -> None:
    settings.ADAPTERS_DIR = tmp_path / "nowhere"
    run_attempt(answered, attempt=5)
    settlement = Settlement.objects.get()
    assert (settlement.contributors_wei, answered.state) == (0, Inference.State.SETTLED)
    assert settlement.reserve_wei == settlement.fee_wei * 700_000 // 1_000_000
    evidence = Receipt.objects.get().body["evidence"]
    assert (evidence["influence"], evidence["influence_missing"]) == (None, "failed")


def test_the_listed_records_are_those_of_the_version(settled: Inference, world: World) -> None:
    influence = Receipt.objects.get().body["evidence"]["influence"]["attribution"]
    known = {str(record_id(question)) for question, _ in ROWS}
    assert {record["record_id"] for record in influence["records"]} <= known
    assert influence["index_digest"] == world.index_digest


def test_no_text_of_question_answer_or_rows_is_on_a_receipt(settled: Inference) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT body::text FROM marketplace_receipt")
        body = cursor.fetchone()[0]
    assert not [text for row in ROWS for text in row if text in body]


def test_the_books_hold_after_an_answer(settled: Inference) -> None:
    """I4 compares with the chain, which these tests do not start."""
    connection.check_constraints()
    problems = {name: found for name, found in reconcile().problems.items() if name != "I4"}
    assert "signed receipts" in problems
    assert not any(problems.values())


def test_a_settled_answer_whose_fee_was_changed_is_found(settled: Inference) -> None:
    Inference.objects.update(fee_wei=settled.fee_wei + 1)
    assert "other amounts" in check_receipts()[0]


def test_a_settled_answer_without_a_receipt_is_found(settled: Inference) -> None:
    with pgtrigger.ignore("marketplace.Receipt:receipt_is_kept"):
        Receipt.objects.all().delete()
    assert "has no receipt" in check_receipts()[0]


def test_a_receipt_changed_behind_the_sites_back_is_found(settled: Inference) -> None:
    with pgtrigger.ignore("marketplace.Receipt:receipt_is_final"):
        Receipt.objects.update(body=Receipt.objects.get().body | {"fee_wei": "1"})
    assert "not the one that was signed" in check_receipts()[0]


def test_the_stakers_part_goes_to_the_datanet_whose_records_were_paid(
    settled: Inference,
) -> None:
    datanet = settled.model.run.version.datanet
    shares = StakerShare.objects.values_list("subject", "amount_wei")
    assert list(shares) == [(f"datanet:{datanet.public_id}", Settlement.objects.get().stakers_wei)]


def test_stakers_of_a_contribution_share_what_its_records_pay(
    answered: Inference, world: World
) -> None:
    row = Record.objects.select_related("contribution").get(public_id=record_id(world.question))
    subject = row.contribution.stake_subject
    StakeTarget.objects.create(
        chain_id=31337, target=target_id(subject), subject=subject, bonded_wei=WEI_PER_OPEN
    )
    run_attempt(answered)
    shares = dict(StakerShare.objects.values_list("subject", "amount_wei"))
    datanet = f"datanet:{answered.model.run.version.datanet.public_id}"
    assert shares[subject] > 0
    assert shares.keys() <= {subject, datanet}
    assert sum(shares.values()) == Settlement.objects.get().stakers_wei
    problems = reconcile().problems
    assert not problems["I7"] + problems["I8"]


def test_the_stakers_part_of_an_answer_that_pays_no_record_goes_to_the_model(
    answered: Inference, settings: LazySettings, tmp_path: Path
) -> None:
    settings.ADAPTERS_DIR = tmp_path / "nowhere"
    run_attempt(answered, attempt=5)
    assert StakerShare.objects.get().subject == f"model:{answered.model.public_id}"
