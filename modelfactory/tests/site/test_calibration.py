"""Measuring attribution: started once, one retraining after the other, and said on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.test import Client

from datanets.models import Record
from modelfactory.fidelity import Agreement, fidelity_of
from modelfactory.models import AttributionIndex, Calibration, CalibrationSubset, Model, Run
from modelfactory.services import NothingToMeasure, publish_model, seconds_left, start_calibration
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.build_index import calibration_folder
from modelfactory.services.calibrate_model import locked, queue_fit, queue_work
from modelfactory.services.fit_calibration import _questions
from modelfactory.services.train_subset import kept_records
from modelfactory.tests.site.conftest import PRICES, settle
from modelfactory.tests.site.workers import finish_job, start_worker, wait_until
from openledger_site.accounts.models import User
from openledger_site.core.jobs import run_job
from openledger_site.core.models import AuditEntry, Job

PAGE, PANEL, MEASURE = (f"/factory/models/birds/{tail}" for tail in ("", "fidelity/", "calibrate/"))
FIDELITY = {
    "subsets": 32,
    "questions": 60,
    "records": 48,
    "lds": {"trained": [0.71, 0.64, 0.78], "rewording": [0.42, 0.31, 0.53]},
    "beside": {
        "influence": {"trained": 0.6, "rewording": 0.35},
        "bm25": {"trained": 0.3, "rewording": 0.2},
        "random": {"trained": 0.01, "rewording": -0.02},
    },
    "noise_gate": {"false_pay": 0.025, "answers": 40},
    "pays": True,
}


@pytest.fixture(autouse=True)
def few_retrainings(settings: LazySettings) -> None:
    settings.CALIBRATION_SUBSETS, settings.CALIBRATE_ON_PUBLISH = 4, False


@pytest.fixture
def index(settled_run: Run) -> AttributionIndex:
    return AttributionIndex.objects.create(
        adapter_digest=settled_run.adapter_digest, run=settled_run, digest="1" * 64, ready_at=Now()
    )


@pytest.fixture
def model(index: AttributionIndex, make_model: Callable[..., Model]) -> Model:
    return make_model()


@pytest.fixture
def calibration(model: Model, builder: User) -> Calibration:
    return start_calibration(model, actor=builder)


def jobs(kind: str = "modelfactory.calibrate_subset") -> Any:
    return Job.objects.filter(kind=kind)


def end(*subsets: CalibrationSubset, state: str = "failed", **fields: Any) -> None:
    chosen = jobs().filter(pk__in=[subset.job_id for subset in subsets])
    chosen.update(state=state, lease_until=None, **fields)


def do(*subsets: CalibrationSubset) -> None:
    """Mark retrainings as done, as their jobs would."""
    end(*subsets, state="succeeded")
    for subset in subsets:
        subset.adapter_digest, subset.done_at = f"{subset.position:064x}", Now()
        subset.save()


def measured(calibration: Calibration, **changes: Any) -> None:
    do(*calibration.subsets.all())
    Calibration.objects.update(
        fidelity=FIDELITY | changes, digest="2" * 64, ready_at=Now(), seconds=812
    )


def page_of(client: Client, person: User | None = None, path: str = PAGE) -> str:
    if person is not None:
        client.force_login(person)
    return client.get(path).content.decode()


# Starting


def test_starting_twice_queues_one_retraining_and_says_so_once(
    model: Model, builder: User, calibration: Calibration
) -> None:
    assert start_calibration(model, actor=builder) == calibration
    assert [subset.position for subset in calibration.subsets.all()] == [0, 1, 2, 3]
    assert (jobs().get().queue, jobs().get().owner) == ("ml", builder)
    assert AuditEntry.objects.filter(action__startswith="calibration").count() == 1


def test_several_retrainings_may_wait_where_there_are_several_trainers(
    model: Model, builder: User, settings: LazySettings
) -> None:
    settings.CALIBRATION_PARALLEL = 3
    start_calibration(model, actor=builder)
    assert jobs().count() == 3


@pytest.mark.parametrize(("on_publish", "subsets", "started"), [(1, 4, 1), (0, 4, 0), (1, 0, 0)])
def test_publishing_starts_it_where_the_operator_wants_that(
    index: AttributionIndex, make_model: Callable[..., Model], settings: LazySettings,
    on_publish: int, subsets: int, started: int,
) -> None:  # fmt: skip
    settings.CALIBRATE_ON_PUBLISH, settings.CALIBRATION_SUBSETS = bool(on_publish), subsets
    make_model()
    assert jobs().count() == started


def test_publishing_without_an_index_still_publishes(
    make_model: Callable[..., Model], settings: LazySettings
) -> None:
    settings.CALIBRATE_ON_PUBLISH = True
    assert make_model().pk
    assert not Calibration.objects.exists()


def test_without_an_index_or_with_too_few_rows_there_is_nothing_to_measure(
    model: Model, index: AttributionIndex, builder: User
) -> None:
    Run.objects.update(training_row_count=3)
    with pytest.raises(NothingToMeasure):
        start_calibration(model, actor=builder)
    index.delete()
    with pytest.raises(NothingToMeasure):
        start_calibration(model, actor=builder)


# One after the other


def test_the_next_retraining_is_queued_only_when_one_is_done(calibration: Calibration) -> None:
    first, second, *_ = calibration.subsets.all()
    with transaction.atomic():
        assert not queue_work(locked(calibration))
        do(first)
        assert queue_work(locked(calibration))
    second.refresh_from_db()
    assert jobs().get(state="queued") == second.job


def test_a_failed_retraining_is_tried_again_when_a_person_asks(
    calibration: Calibration, model: Model, builder: User, settings: LazySettings
) -> None:
    first, *others = calibration.subsets.all()
    do(*others)
    end(first)
    with transaction.atomic():
        assert not queue_work(locked(calibration))
    start_calibration(model, actor=builder)
    assert jobs().filter(state="queued").count() == 1
    assert AuditEntry.objects.filter(action="calibration.resumed").count() == 1


@pytest.mark.parametrize("index_last", [True, False])
def test_the_fit_waits_for_the_last_retraining_and_for_the_index(
    calibration: Calibration, index_last: bool
) -> None:
    AttributionIndex.objects.update(ready_at=None) if index_last else None
    do(*calibration.subsets.all())
    with transaction.atomic():
        assert queue_work(locked(calibration)) is not index_last
        AttributionIndex.objects.update(ready_at=Now())
        assert queue_fit(locked(calibration)) is index_last
        assert not queue_fit(locked(calibration))
    assert jobs("modelfactory.calibrate").get().queue == "attribution"


def test_each_row_is_left_out_by_half_of_the_retrainings(calibration: Calibration) -> None:
    ids = [str(record.public_id) for record in Record.objects.all()]
    kept = kept_records(calibration, ids)
    assert kept == kept_records(calibration, ids[::-1])
    assert {sum(name in each for each in kept) for name in ids} == {2}


def test_the_scores_are_tested_on_trained_and_on_new_wordings(calibration: Calibration) -> None:
    from modelfactory.services.calibrate_model import rows_of
    from modelfactory.services.training_files import examples_of

    asked = list(_questions(calibration, rows_of(calibration)))
    trained = {example["prompt"] for example in examples_of(calibration.index.run.version)}
    assert {kind for kind, _ in asked} == {"trained", "rewording"}
    assert all((question["prompt"] in trained) == (kind == "trained") for kind, question in asked)
    assert not any("context" in question for _, question in asked)


@pytest.mark.parametrize("fields", [{"done_at": Now()}, {"position": 1}])
def test_the_database_refuses_a_subset_that_cannot_be(
    calibration: Calibration, fields: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        calibration.subsets.filter(position=0).update(**fields)


# Rows and rights


def refused(calibration: Calibration) -> Job:
    run_job(str(calibration.subsets.all()[0].job_id))
    return jobs().get()


def test_a_row_withdrawn_since_ends_it_with_words_for_the_owner(
    client: Client, builder: User, calibration: Calibration, settings: LazySettings
) -> None:
    Record.objects.filter(pk=Record.objects.all()[0].pk).update(state="withdrawn")
    job = refused(calibration)
    assert (job.state, job.error_code) == ("failed", "rows_changed")
    page = page_of(client, builder)
    assert "Rows were withdrawn since this model was trained." in page
    assert MEASURE not in page, "asking again would end the same way"
    assert not list(Path(settings.RUNS_DIR).glob("*"))


def test_the_rows_are_not_read_again_without_the_right_to_train(calibration: Calibration) -> None:
    datanet = calibration.index.run.version.datanet
    datanet.visibility = "private"
    datanet.save()
    assert refused(calibration).error_code == "no_right_to_train"


# The page


@pytest.mark.parametrize("path", [PAGE, PANEL])
def test_visitors_read_that_nobody_measured_it_and_get_no_button(
    client: Client, model: Model, path: str
) -> None:
    page = page_of(client, path=path)
    assert "Nobody has measured it yet." in page
    assert "Its owner can have it measured." in page
    assert MEASURE not in page


def test_the_owner_starts_it_with_one_button_and_hears_how_long_it_takes(
    client: Client, builder: User, run: Run
) -> None:
    Run.objects.filter(pk=run.pk).update(metrics={"seconds": 106})
    make_index_and_model(settle(run))
    assert "about 3 to 6 minutes" in page_of(client, builder)
    answer = client.post(MEASURE, {"idempotency_key": "m"})
    assert answer["Location"] == f"{PAGE}#fidelity"
    assert client.post(MEASURE, {"idempotency_key": "n"}).status_code == 302
    assert jobs().count() == 1


def make_index_and_model(run: Run) -> None:
    AttributionIndex.objects.create(
        adapter_digest=run.adapter_digest, run=run, digest="1" * 64, ready_at=Now()
    )
    publish_model(run, name="Birds", slug="birds", card="", visibility="public", **PRICES)


def test_only_the_owner_may_start_it(client: Client, model: Model, stranger: User) -> None:
    assert client.post(MEASURE)["Location"].startswith("/accounts/login/")
    client.force_login(stranger)
    assert client.post(MEASURE).status_code == 404
    assert not Calibration.objects.exists()


def test_starting_is_a_post_and_needs_a_model(client: Client, model: Model, builder: User) -> None:
    client.force_login(builder)
    assert client.get(MEASURE).status_code == 405
    assert client.post(PANEL).status_code == 405
    assert client.post("/factory/models/nothing/calibrate/").status_code == 404


def test_what_cannot_be_measured_is_refused_and_offers_no_button(
    client: Client, model: Model, builder: User, settings: LazySettings
) -> None:
    settings.CALIBRATION_SUBSETS = 0
    assert "It cannot be measured here" in page_of(client, builder)
    assert client.post(MEASURE).status_code == 409


def test_a_private_model_keeps_its_panel_to_itself(
    client: Client, stranger: User, index: AttributionIndex, make_model: Callable[..., Model]
) -> None:
    make_model("private")
    client.force_login(stranger)
    assert client.get(PANEL).status_code == 404


def test_the_page_follows_the_retrainings(client: Client, calibration: Calibration) -> None:
    do(calibration.subsets.all()[0])
    with transaction.atomic():
        queue_work(locked(calibration))
    page = page_of(client)
    assert "1 of 4 retrainings" in page
    assert f'data-live-url="{PANEL}"' in page
    assert '<meta http-equiv="refresh"' in page
    part = page_of(client, path=PANEL)
    assert "data-live-done" not in part
    assert "<html" not in part


def test_after_the_last_retraining_the_page_says_that_it_compares(
    client: Client, calibration: Calibration
) -> None:
    do(*calibration.subsets.all())
    with transaction.atomic():
        queue_work(locked(calibration))
    assert "All 4 retrainings are done." in page_of(client)


def test_a_stopped_measurement_can_go_on(
    client: Client, builder: User, calibration: Calibration
) -> None:
    end(calibration.subsets.all()[0], state="cancelled", message="Stopped on request.")
    page = page_of(client, builder)
    assert "0 of 4 retrainings are done and kept." in page
    assert "Go on measuring" in page
    client.post(MEASURE)
    assert jobs().filter(state="queued").count() == 1


def test_a_measured_model_says_how_well_in_words_and_beside_what(
    client: Client, calibration: Calibration
) -> None:
    measured(calibration)
    page = page_of(client)
    for words in (
        "predicts about 7 in 10 of what really changes when rows are left out",
        "0.71, likely between 0.64 and 0.78",
        "Shared words alone (BM25)",
        "32 times",
        "1 of 40 would have paid somebody",
        "14 minutes",
    ):
        assert words in page
    assert "no better than chance" not in page
    assert "data-live-url" not in page


def test_scores_no_better_than_chance_are_said_not_to_pay(
    client: Client, calibration: Calibration
) -> None:
    measured(calibration, pays=False)
    assert "part of each fee goes to their reserve" in page_of(client)


def test_a_measurement_that_lacks_figures_still_has_a_page(
    client: Client, calibration: Calibration
) -> None:
    measured(calibration, lds={"trained": [], "rewording": [None, None, None]}, beside={})
    assert "in 10 of what" not in page_of(client)


@pytest.mark.parametrize(
    ("value", "words"),
    [(-0.2, "nothing"), (0.04, "nothing"), (0.66, "about 7 in 10"), (0.97, "nearly all")],
)
def test_a_correlation_is_said_in_plain_words(value: float, words: str) -> None:
    assert f"predicts {words} of what" in Agreement("", "", value, 0, 1, {}).words


def test_each_score_stands_beside_the_one_that_pays() -> None:
    table = fidelity_of(FIDELITY).table
    assert [label for label, _ in table][::3] == ["Our score", "Chance"]
    assert [value for _, value in table[0][1]] == [0.71, 0.42]


def test_the_page_asks_a_fixed_number_of_questions(
    client: Client, calibration: Calibration, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(10):
        client.get(PAGE)


def test_half_of_the_rows_take_half_of_the_time(settled_run: Run) -> None:
    assert seconds_left(settled_run, 4) is None
    settled_run.metrics = {"seconds": 106}
    assert seconds_left(settled_run, 4) == 4 * 60


# With a real trainer


@pytest.fixture
def tiny_calibration(start: Callable[..., Run], builder: User) -> Callable[..., Calibration]:
    """Of a run that was never trained, on a base that can be."""

    def make(epochs: int) -> Calibration:
        make_index_and_model(settle(start(epochs=epochs)))
        return start_calibration(Model.objects.get(), actor=builder)

    return make


def assert_done(subset: CalibrationSubset, settings: LazySettings) -> None:
    subset.refresh_from_db()
    assert subset.done_at is not None
    assert adapter_folder(subset.adapter_digest).is_dir()
    assert not list(Path(settings.RUNS_DIR).iterdir()), "private text left on disk"
    assert jobs().get(state="queued").payload == {"subset_id": subset.pk + 1}


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(900)
def test_a_retraining_keeps_its_adapter_and_queues_the_next_one(
    tiny_calibration: Callable[..., Calibration], settings: LazySettings
) -> None:
    calibration = tiny_calibration(epochs=2)
    first = calibration.subsets.all()[0]
    finish_job(first.job_id)
    assert_done(first, settings)
    calibration.refresh_from_db()
    assert calibration.seconds > 0
    run_job(str(first.job_id))
    assert jobs().count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(900)
def test_a_killed_retraining_goes_on_from_its_checkpoint(
    tiny_calibration: Callable[..., Calibration], settings: LazySettings, tmp_path: Path
) -> None:
    calibration = tiny_calibration(epochs=120)
    first = calibration.subsets.all()[0]
    worker = start_worker(first.job_id, tmp_path)
    folder = Path(settings.RUNS_DIR) / f"calibration-{calibration.pk}-0"
    wait_until(lambda: bool(list(folder.glob("checkpoints/step-*"))), "a checkpoint")
    worker.kill()
    worker.wait()
    finish_job(first.job_id)
    assert first.job.events.filter(kind="resumed").count() == 1  # type: ignore[union-attr]
    assert_done(first, settings)


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(900)
def test_a_run_is_measured_from_its_retrainings_to_its_page(
    start: Callable[..., Run], client: Client, settings: LazySettings
) -> None:
    settings.CALIBRATE_ON_PUBLISH = True
    run = start(epochs=6)
    finish_job(run.job_id)
    run.refresh_from_db()
    index = AttributionIndex.objects.get()
    assert [adapter_folder(digest).is_dir() for digest in index.trail_digests] == [True, True]
    publish_model(run, name="Birds", slug="birds", card="", visibility="public", **PRICES)
    for subset in CalibrationSubset.objects.all():
        subset.refresh_from_db()
        finish_job(subset.job_id)
    assert not jobs("modelfactory.calibrate").exists(), "the index is not there yet"
    finish_job(index.job_id)
    finish_job(jobs("modelfactory.calibrate").get().pk)
    calibration = Calibration.objects.get()
    assert (calibration.digest != "", calibration.fidelity["subsets"]) == (True, 4)
    assert (calibration_folder(run.adapter_digest) / "manifest.json").is_file()
    assert not list(Path(settings.RUNS_DIR).iterdir()), "private text left on disk"
    assert "Our score" in page_of(client)
