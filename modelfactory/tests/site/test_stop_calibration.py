"""Measuring attribution is stopped by its owner, loses nothing, and goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client

from modelfactory.models import AttributionIndex, Calibration, CalibrationSubset, Model, Run
from modelfactory.selectors import index_of, measurement_of
from modelfactory.services import StillStopping, publish_model, start_calibration, stop_calibration
from modelfactory.services.calibrate_model import locked, queue_fit, queue_work
from modelfactory.tests.site.conftest import PRICES, settle
from modelfactory.tests.site.test_calibration import PAGE, PANEL, do, end, jobs, page_of
from modelfactory.tests.site.workers import in_thread, trainers_of, wait_until
from openledger_site.accounts.models import User
from openledger_site.core.models import AuditEntry, Job

STOP = "/factory/models/birds/calibrate/stop/"


@pytest.fixture(autouse=True)
def few_retrainings(settings: LazySettings) -> None:
    settings.CALIBRATION_SUBSETS, settings.CALIBRATE_ON_PUBLISH = 4, False


@pytest.fixture
def model(settled_run: Run, make_model: Callable[..., Model]) -> Model:
    AttributionIndex.objects.create(
        adapter_digest=settled_run.adapter_digest, run=settled_run, digest="1" * 64, ready_at=Now()
    )
    return make_model()


@pytest.fixture
def calibration(model: Model, builder: User) -> Calibration:
    return start_calibration(model, actor=builder)


def state_of(model: Model) -> str:
    return measurement_of(index_of(model.adapter_digest)).state


def being_trained(calibration: Calibration) -> CalibrationSubset:
    """The first retraining, as if a trainer had it in hand."""
    first = calibration.subsets.all()[0]
    jobs().filter(pk=first.job_id).update(state="running", lease_until=Now(), started_at=Now())
    return first


def test_a_retraining_that_waits_is_stopped_at_once_and_what_is_done_stays(
    calibration: Calibration, model: Model, builder: User
) -> None:
    do(calibration.subsets.all()[0])
    with transaction.atomic():
        queue_work(locked(calibration))
    stop_calibration(model, actor=builder)
    assert (state_of(model), jobs().filter(state="cancelled").count()) == ("stopped", 1)
    assert calibration.subsets.filter(done_at__isnull=False).count() == 1


def test_a_retraining_that_ends_after_the_stop_queues_no_other(
    calibration: Calibration, model: Model, builder: User
) -> None:
    first = being_trained(calibration)
    stop_calibration(model, actor=builder)
    do(first)
    with transaction.atomic():
        assert not queue_work(locked(calibration))
    assert state_of(model) == "stopped"


def test_a_stopped_measurement_is_not_fitted_by_an_index_that_gets_ready(
    calibration: Calibration, model: Model, builder: User
) -> None:
    do(*calibration.subsets.all())
    stop_calibration(model, actor=builder)
    with transaction.atomic():
        assert not queue_fit(locked(calibration))


def test_the_fit_is_stopped_too_and_queued_again_by_going_on(
    calibration: Calibration, model: Model, builder: User
) -> None:
    do(*calibration.subsets.all())
    with transaction.atomic():
        queue_work(locked(calibration))
    stop_calibration(model, actor=builder)
    assert jobs("modelfactory.calibrate").get().state == "cancelled"
    start_calibration(model, actor=builder)
    assert jobs("modelfactory.calibrate").filter(state="queued").count() == 1


def test_going_on_waits_until_the_stop_is_through(
    calibration: Calibration, model: Model, builder: User
) -> None:
    first = being_trained(calibration)
    stop_calibration(model, actor=builder)
    assert state_of(model) == "stopping"
    with pytest.raises(StillStopping):
        start_calibration(model, actor=builder)
    end(first, state="cancelled")
    start_calibration(model, actor=builder)
    assert jobs().get(state="queued").payload == {"subset_id": first.pk}


def test_stopping_leaves_one_trace_however_often_it_is_asked(
    calibration: Calibration, model: Model, builder: User
) -> None:
    stop_calibration(model, actor=builder)
    stop_calibration(model, actor=builder)
    assert AuditEntry.objects.filter(action="calibration.stopped").count() == 1


def test_what_was_never_started_or_is_measured_is_not_stopped(model: Model, builder: User) -> None:
    stop_calibration(model, actor=builder)
    calibration = start_calibration(model, actor=builder)
    do(*calibration.subsets.all())
    Calibration.objects.update(digest="2" * 64, ready_at=Now())
    stop_calibration(model, actor=builder)
    assert state_of(model) == "measured"
    assert not AuditEntry.objects.filter(action="calibration.stopped").exists()


def test_publishing_an_equal_adapter_does_not_undo_a_stop(
    calibration: Calibration, model: Model, builder: User, settings: LazySettings
) -> None:
    stop_calibration(model, actor=builder)
    settings.CALIBRATE_ON_PUBLISH = True
    twin = Run.objects.get(pk=model.run.pk)
    twin.pk, twin.public_id, twin.job = None, "00000000-0000-4000-8000-000000000001", None
    twin.save(force_insert=True)
    publish_model(twin, name="Twin", slug="twin", card="", visibility="public", **PRICES)
    assert not jobs().filter(state__in=["queued", "running"]).exists()


# The page


def test_the_owner_stops_it_with_a_plain_form_and_reads_how_to_go_on(
    client: Client, calibration: Calibration, builder: User
) -> None:
    assert f'action="{STOP}"' in page_of(client, builder)
    assert client.post(STOP)["Location"] == f"{PAGE}#fidelity"
    page = page_of(client)
    assert "It was stopped by its owner. 0 of 4 retrainings are done and kept." in page
    assert "Nothing is lost" in page
    assert "Go on measuring" in page
    assert STOP not in page


def test_only_the_owner_sees_the_button_and_may_press_it(
    client: Client, calibration: Calibration, stranger: User
) -> None:
    assert client.post(STOP)["Location"].startswith("/accounts/login/")
    assert STOP not in page_of(client, stranger)
    assert (client.post(STOP).status_code, client.get(STOP).status_code) == (404, 405)
    assert jobs().get().state == "queued"


def test_while_it_stops_the_page_says_so_and_follows(
    client: Client, calibration: Calibration, model: Model, builder: User
) -> None:
    being_trained(calibration)
    stop_calibration(model, actor=builder)
    page = page_of(client, builder)
    assert "Stopping." in page
    assert f'data-live-url="{PANEL}"' in page
    assert "data-live-done" not in page_of(client, path=PANEL)


@pytest.mark.parametrize(
    ("took_seconds", "progress", "words"),
    [(120, 0, "about 6 minutes left"), (120, 500, "about 5 minutes left"), (3, 0, "a minute left")],
)
def test_the_time_left_is_what_the_retrainings_took_that_are_done(
    client: Client, calibration: Calibration, took_seconds: int, progress: int, words: str
) -> None:
    first = calibration.subsets.all()[0]
    do(first)
    jobs().filter(pk=first.job_id).update(
        started_at=Now() - timedelta(seconds=took_seconds), ended_at=Now()
    )
    with transaction.atomic():
        queue_work(locked(calibration))
    jobs().filter(state="queued").update(progress=progress)
    page = page_of(client)
    assert "1 of 4 retrainings" in page
    assert words in page


@pytest.mark.parametrize(
    ("code", "words", "goes_on"),
    [
        ("rows_changed", "Start a new run on the newest version", False),
        ("calibration_unusable", "Add rows whose answers differ", False),
        ("no_right_to_train", "Ask the Datanet&#x27;s owner", True),
        ("out_of_memory", "Wait until the machine has less to do", True),
        ("internal_error", "tell the operator", True),
    ],
)
def test_whatever_stopped_it_the_owner_reads_what_to_do_next(
    client: Client, calibration: Calibration, builder: User, code: str, words: str, goes_on: bool
) -> None:
    end(calibration.subsets.all()[0], error_code=code, message="Something happened.")
    assert words not in page_of(client), "visitors can do nothing about it"
    page = page_of(client, builder)
    assert words in page
    assert ("Go on measuring" in page) == goes_on


def test_too_few_rows_are_named_as_the_reason(client: Client, model: Model) -> None:
    Run.objects.update(training_row_count=3)
    assert "It learnt 3 rows, and it takes 4" in page_of(client)


# With a real trainer


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(900)
def test_a_running_retraining_ends_within_seconds_and_goes_on_from_its_checkpoint(
    start: Callable[..., Run], builder: User, settings: LazySettings
) -> None:
    run = settle(start(epochs=400))
    AttributionIndex.objects.create(
        adapter_digest=run.adapter_digest, run=run, digest="1" * 64, ready_at=Now()
    )
    publish_model(run, name="Birds", slug="birds", card="", visibility="public", **PRICES)
    model = Model.objects.get()
    first = start_calibration(model, actor=builder).subsets.all()[0]
    folder = Path(settings.RUNS_DIR)
    worker = in_thread(first.job_id)
    wait_until(lambda: bool(list(folder.glob("*/checkpoints/step-*"))), "a checkpoint")
    stop_calibration(model, actor=builder)
    worker.join(15)
    assert not worker.is_alive()
    assert not trainers_of(os.getpid())
    assert Job.objects.get(pk=first.job_id).state == "cancelled"
    assert not list(folder.glob("*/examples.jsonl")), "private text left on disk"
    start_calibration(model, actor=builder)
    first.refresh_from_db()
    again = in_thread(first.job_id)
    resumed = first.job.events.filter(kind="resumed")  # type: ignore[union-attr]
    wait_until(resumed.exists, "it goes on from its checkpoint")
    stop_calibration(model, actor=builder)
    again.join(15)
    assert not again.is_alive()
