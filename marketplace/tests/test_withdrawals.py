"""What a withdrawal, a damaged index and a swapped adapter do to answers: wait, or not at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pgtrigger
import pytest
from django.conf import LazySettings
from django.db.models.functions import Now
from django.test import Client

from datanets.models import Contribution, Record
from datanets.services import withdraw_contribution
from marketplace import receipts
from marketplace.models import Inference, Receipt
from marketplace.services import settle_inference
from marketplace.services.stream_answer import Meter, finish_answer
from marketplace.tests.conftest import World, record_id, run_attempt
from modelfactory.attribution.calibration import (
    Calibration as CalibrationFiles,
)
from modelfactory.attribution.calibration import (
    CalibrationIdentity,
    Design,
    Weights,
    write_calibration,
)
from modelfactory.attribution.index import AttributionIndex as IndexFiles
from modelfactory.attribution.method import signal_names
from modelfactory.models import AttributionIndex, Calibration, EvaluationResult, Model
from modelfactory.services import calibration_folder, index_folder
from openledger_site.accounts.models import User
from openledger_site.core.jobs import run_job
from openledger_site.core.models import AuditEntry, Job
from rewards.models import Settlement

pytestmark = pytest.mark.django_db
CARLAS = [str(record_id(f"What is known about the {bird}?")) for bird in ("tern", "wren", "kite")]


@pytest.fixture(autouse=True)
def not_measured(settings: LazySettings) -> None:
    settings.CALIBRATE_ON_PUBLISH = False


def withdraw(person: User) -> None:
    given = Contribution.objects.get(contributor=person)
    withdraw_contribution(contribution=given, actor=person)


def follow() -> Job:
    """Run the job that the withdrawal queued."""
    job = Job.objects.get(kind="modelfactory.follow_withdrawals", state="queued")
    run_job(str(job.pk))
    job.refresh_from_db()
    return job


def again(inference: Inference) -> None:
    """The next attempt of an answer that waited."""
    Job.objects.filter(pk=inference.job_id).update(wake_after=Now())
    run_job(str(inference.job_id))
    inference.refresh_from_db()


def influence_of(inference: Inference) -> Any:
    return Receipt.objects.get(inference=inference).body["evidence"]["influence"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


def waits(inference: Inference) -> bool:
    job = Job.objects.get(pk=inference.job_id)
    nothing = not Settlement.objects.exists() and not Receipt.objects.exists()
    return nothing and job.state == "queued" and inference.state == Inference.State.ANSWERED


# Withdrawn rows


def test_an_answer_waits_until_its_index_is_rid_of_rows_withdrawn_before(
    answered: Inference, contributor: User, world: World
) -> None:
    withdraw(contributor)
    run_attempt(answered)
    assert waits(answered)
    assert follow().state == "succeeded"
    again(answered)
    listed = {row["record_id"] for row in influence_of(answered)["attribution"]["records"]}
    assert len(listed) == 2
    assert not listed & set(CARLAS)
    index = AttributionIndex.objects.get()
    assert (index.record_count, index.withdrawn_count) == (2, 3)
    assert index.earlier_digests == {world.index_digest: "withdrawal"}
    assert index.digest == IndexFiles(index_folder(world.adapter_digest)).digest


def test_however_a_row_was_withdrawn_it_is_never_scored(answered: Inference) -> None:
    """Here nobody was told: the rows themselves are asked."""
    Record.objects.filter(public_id=CARLAS[0]).update(state="withdrawn")
    run_attempt(answered)
    assert waits(answered)
    follow()
    again(answered)
    listed = {row["record_id"] for row in influence_of(answered)["attribution"]["records"]}
    assert len(listed) == 4


def test_a_row_withdrawn_while_its_answer_was_scored_is_not_paid(
    answered: Inference, contributor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(inference: Inference) -> None:
        withdraw(contributor)

    with monkeypatch.context() as during:
        during.setattr(sys.modules[settle_inference.__module__], "find_verbatim", meanwhile)
        run_attempt(answered)
    assert waits(answered)
    follow()
    again(answered)
    assert str(contributor.public_id) not in influence_of(answered)["owners"].values()


def test_an_index_of_which_nothing_is_left_is_removed_and_the_base_rule_pays(
    answered: Inference, contributor: User, owner: User, world: World
) -> None:
    for person in (contributor, owner):
        withdraw(person)
    jobs = Job.objects.filter(kind="modelfactory.follow_withdrawals").order_by("created_at")
    for job in jobs:
        run_job(str(job.pk))
    assert "nothing_left" in jobs.values_list("error_code", flat=True)
    assert not index_folder(world.adapter_digest).exists()
    run_attempt(answered)
    assert answered.settled
    assert influence_of(answered) is None


def test_a_second_withdrawal_queues_a_job_of_its_own(
    model: Model, contributor: User, owner: User
) -> None:
    withdraw(contributor)
    withdraw(owner)
    assert Job.objects.filter(kind="modelfactory.follow_withdrawals").count() == 2


def test_an_attempt_that_died_between_folder_and_row_is_made_good(
    model: Model, contributor: User, world: World
) -> None:
    withdraw(contributor)
    follow()
    index = AttributionIndex.objects.get()
    AttributionIndex.objects.update(
        digest=world.index_digest, withdrawn_count=0, earlier_digests={}
    )
    job = Job.objects.get(kind="modelfactory.follow_withdrawals")
    Job.objects.filter(pk=job.pk).update(state="queued", ended_at=None)
    run_job(str(job.pk))
    again = AttributionIndex.objects.get()
    assert (again.digest, again.withdrawn_count) == (index.digest, 3)
    assert again.earlier_digests == {world.index_digest: "withdrawal"}


def test_a_receipt_from_before_says_what_cannot_be_replayed_any_more(
    settled: Inference, contributor: User, world: World, as_user: Callable[[User], Client],
    payer: User,
) -> None:  # fmt: skip
    receipt = as_user(payer).get(f"/marketplace/answers/{settled.public_id}/receipt.json").json()
    place = index_folder(world.adapter_digest)
    assert "scores from the index" in receipts.verify(receipt, index_folder=place).checked
    withdraw(contributor)
    follow()
    result = receipts.verify(receipt, index_folder=place)
    assert result.ok
    assert any("rows were withdrawn from the index" in line for line in result.skipped)
    assert {"record shares", "contributor shares", "fee"} <= set(result.checked)
    page = as_user(payer).get(f"/marketplace/answers/{settled.public_id}/receipt/").content
    assert b"the scores can no longer be recomputed" in page


def test_what_evaluation_and_prompts_hold_of_a_withdrawn_row_is_emptied(
    ask: Callable[..., Inference], model: Model, contributor: User
) -> None:
    for position, asked in enumerate((CARLAS[0], str(record_id("What is known about the rook?")))):
        EvaluationResult.objects.create(
            run=model.run, position=position, record_id=asked, retrieved=False, question="Q?",
            expected="E.", base_answer="no", tuned_answer="E.", base_correct=False,
            tuned_correct=True,
        )  # fmt: skip
    inference = ask()
    Inference.objects.update(passages=[{"record": CARLAS[0], "content_hash": "c"}])
    finish_answer(inference.pk, Meter(["Two eggs."], [1, 2], [3], 2, 1, "stop"))
    assert Inference.objects.get().prompt_ids == [1, 2]
    withdraw(contributor)
    emptied, kept = EvaluationResult.objects.order_by("position")
    assert (emptied.question, emptied.expected, emptied.tuned_answer) == ("", "", "")
    assert emptied.tuned_correct
    assert kept.question == "Q?"
    run_job(str(Job.objects.get(kind="marketplace.forget_passages").pk))
    assert (Inference.objects.get().prompt_ids, Inference.objects.get().prompt_tokens) == ([], 2)


def test_a_prompt_that_is_written_down_after_the_withdrawal_is_empty(
    ask: Callable[..., Inference], contributor: User
) -> None:
    inference = ask()
    Inference.objects.update(passages=[{"record": CARLAS[0], "content_hash": "c"}])
    withdraw(contributor)
    finish_answer(inference.pk, Meter(["Two eggs."], [1, 2], [3], 2, 1, "stop"))
    assert Inference.objects.get().prompt_ids == []


# Damage


def test_a_flipped_byte_is_found_and_the_answer_waits_for_the_index_to_be_built_again(
    answered: Inference, world: World
) -> None:
    shard = index_folder(world.adapter_digest) / "0-rows-00000.int8"
    flip(shard)
    run_attempt(answered)
    index = AttributionIndex.objects.select_related("job").get()
    assert waits(answered)
    assert index.being_made
    assert index.damaged_at is not None
    assert AuditEntry.objects.filter(action="index.damaged").exists()
    again(answered)
    assert waits(answered)
    run_job(str(index.job_id))
    index = AttributionIndex.objects.get()
    assert index.damaged_at is None
    assert (index.state, index.record_count) == ("ready", 5)
    again(answered)
    assert influence_of(answered)["attribution"]["index_digest"] == index.digest
    before = index.digest
    flip(shard)
    assert AttributionIndex.objects.get().state == "ready"
    damage_and_rebuild(answered)
    assert AttributionIndex.objects.get().digest == before, "the same rows give the same bytes"


def damage_and_rebuild(inference: Inference) -> None:
    from modelfactory.services.repair_attribution import index_damaged

    assert index_damaged(AttributionIndex.objects.get())
    run_job(str(AttributionIndex.objects.get().job_id))


def test_while_a_damaged_index_is_built_again_the_model_still_answers(
    ask: Callable[..., Inference], world: World
) -> None:
    flip(index_folder(world.adapter_digest) / "0-rows-00000.int8")
    from modelfactory.services.repair_attribution import index_damaged

    assert index_damaged(AttributionIndex.objects.get())
    assert ask().state == Inference.State.ANSWERING


def test_an_index_that_was_only_being_replaced_is_not_called_damaged(model: Model) -> None:
    from modelfactory.services.repair_attribution import index_damaged

    assert not index_damaged(AttributionIndex.objects.get())
    assert AttributionIndex.objects.get().state == "ready"


# The calibration


@pytest.fixture
def calibration(model: Model, world: World) -> Calibration:
    """Of the model's index; the retrained adapters it names were never made."""
    index = IndexFiles(index_folder(world.adapter_digest))
    ids = [record.record_id for record in index.records]
    signs = np.ones((4, len(ids)), dtype=np.int8)
    signals = signal_names(index)
    digest = write_calibration(
        calibration_folder(world.adapter_digest),
        identity=CalibrationIdentity(
            world.adapter_digest, index.digest, signals, tuple(f"{at:064x}" for at in range(4))
        ),
        weights=Weights((1,) * len(signals), (1,) * len(signals), 1, 1, 1000),
        gate_per_mille=1000,
        design=Design(signs, np.ones((4, index.phantom_count), dtype=np.int8)),
        record_ids=ids,
        fidelity={"records": 5, "pays": True},
    )
    return Calibration.objects.create(
        index=AttributionIndex.objects.get(), subset_count=4, seed=1, rows_digest="r" * 64,
        digest=digest, fidelity={"records": 5, "pays": True}, ready_at=Now(),
    )  # fmt: skip


def test_a_calibration_follows_its_index_and_the_model_says_so(
    calibration: Calibration, contributor: User, world: World, client: Client
) -> None:
    withdraw(contributor)
    assert follow().state == "succeeded"
    calibration.refresh_from_db()
    files = CalibrationFiles(calibration_folder(world.adapter_digest))
    assert (files.digest, files.identity.index_digest) == (
        calibration.digest,
        AttributionIndex.objects.get().digest,
    )
    assert files.design.records.shape == (4, 2)
    assert calibration.fidelity == {"records": 5, "pays": True, "withdrawn": 3}
    page = client.get("/factory/models/birds/").content.decode()
    assert "3 of these rows were withdrawn since" in page


def test_a_damaged_calibration_is_fitted_again_while_answers_wait(
    calibration: Calibration, answered: Inference, world: World
) -> None:
    flip(calibration_folder(world.adapter_digest) / "ids.json")
    run_attempt(answered)
    assert waits(answered)
    calibration.refresh_from_db()
    assert calibration.ready_at is None
    assert calibration.job is not None
    assert calibration.job.kind == "modelfactory.calibrate"
    again(answered)
    assert waits(answered)
    run_job(str(calibration.job_id))  # cannot: there are no retrained adapters
    again(answered)
    assert influence_of(answered)["attribution"]["method"] == "efim-2"


# Which adapter, and none


def test_an_answer_is_attributed_by_the_adapter_that_gave_it(
    answered: Inference, model: Model, world: World
) -> None:
    with pgtrigger.ignore("modelfactory.Model:model_adapter_never_changes"):
        Model.objects.update(adapter_digest="f" * 64)
    run_attempt(answered)
    body = Receipt.objects.get().body
    assert influence_of(answered)["attribution"]["adapter_digest"] == world.adapter_digest
    assert body["adapter_digest"] == world.adapter_digest


def test_an_answer_by_an_adapter_without_an_index_is_not_attributed_and_says_so(
    answered: Inference, payer: User, as_user: Callable[[User], Client]
) -> None:
    Inference.objects.update(adapter_digest="f" * 64)
    run_attempt(answered)
    assert (answered.settled, influence_of(answered)) == (True, None)
    page = as_user(payer).get(f"/marketplace/answers/{answered.public_id}/receipt/").content
    assert b"There is no index of the rows that this model learnt" in page


def test_a_model_without_an_index_answers_and_the_base_rule_pays(
    model: Model, ask: Callable[..., Inference], client: Client
) -> None:
    AttributionIndex.objects.all().delete()
    inference = ask()
    finish_answer(inference.pk, Meter(["Two eggs."], [1, 2], [3], 2, 1, "stop"))
    inference.refresh_from_db()
    run_attempt(inference)
    body = Receipt.objects.get().body
    assert body["evidence"]["influence_missing"] == receipts.NO_INDEX
    assert (body["split"]["contributors_wei"], body["split"]["reserve_wei"] != "0") == ("0", True)
    signed = json.loads(json.dumps(receipts_document(body)))
    assert any("no_index" in line for line in receipts.verify(signed).skipped)
    page = client.get("/factory/models/birds/").content.decode()
    assert "There is no index of this model" in page


def receipts_document(body: dict[str, Any]) -> dict[str, Any]:
    key = receipts.signing_key("a-secret-key-of-the-tests")
    digest = receipts.digest_of(body)
    public = key.public_key().public_bytes_raw().hex()
    signature = receipts.sign(digest, key)
    return {"body": body, "digest": digest, "signature": signature, "public_key": public}
