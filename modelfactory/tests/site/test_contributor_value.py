"""Who made a model better: tried one contributor at a time, stopped, gone on with, and said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.test import Client

from datanets.models import Datanet, Record, Version
from modelfactory.contributor_value import value_line
from modelfactory.models import (
    AttributionIndex,
    BaseModel,
    Calibration,
    ContributorValue,
    Model,
    Run,
    Valuation,
    ValueRetraining,
)
from modelfactory.selectors import value_measurement_for
from modelfactory.services import (
    NothingToValue,
    StillStopping,
    measure_contributor,
    publish_model,
    start_calibration,
    start_run,
    start_valuation,
    stop_valuation,
)
from modelfactory.services.value_contributors import locked, queue_estimate, queue_next
from modelfactory.tests.site.conftest import PRICES, settle
from modelfactory.tests.site.workers import finish_job
from openledger_site.accounts.models import User
from openledger_site.core.jobs import JobFailed, Lease, run_job
from openledger_site.core.models import AuditEntry, Job

PAGE = "/factory/models/birds/"
PANEL, MEASURE, STOP = (f"{PAGE}value/{tail}" for tail in ("", "measure/", "stop/"))


@pytest.fixture(autouse=True)
def small_budget(settings: LazySettings) -> None:
    settings.CALIBRATE_ON_PUBLISH, settings.CONTRIBUTOR_VALUE_REPEATS = False, 2


@pytest.fixture
def index(settled_run: Run) -> AttributionIndex:
    return index_for(settled_run)


def index_for(run: Run) -> AttributionIndex:
    return AttributionIndex.objects.create(
        adapter_digest=run.adapter_digest, run=run, digest="1" * 64, ready_at=Now()
    )


@pytest.fixture
def model(index: AttributionIndex, make_model: Callable[..., Model]) -> Model:
    return make_model()


@pytest.fixture
def valuation(model: Model, builder: User) -> Valuation:
    return start_valuation(model, actor=builder)


def jobs(kind: str = "modelfactory.value_retraining") -> Any:
    return Job.objects.filter(kind=kind)


def end(retraining: ValueRetraining, state: str = "failed", **fields: Any) -> None:
    jobs().filter(pk=retraining.job_id).update(state=state, lease_until=None, **fields)


def do(valuation: Valuation, count: int = 6, **losses_of: float) -> None:
    """Finish the next retrainings, as their jobs would, and queue what follows.

    `losses_of` is the loss without a contributor's rows, by name; 1 for everybody else.
    """
    for _ in range(count):
        one = valuation.retrainings.filter(done_at=None)[0]
        loss = losses_of.get(one.left_out.display_name if one.left_out else "", 1.0)
        one.losses, one.done_at = [loss] * valuation.question_count, Now()
        one.save()
        end(one, state="succeeded")
        with transaction.atomic():
            queue_next(locked(valuation))


def page_of(client: Client, person: User | None = None, path: str = PANEL) -> str:
    if person is not None:
        client.force_login(person)
    return client.get(path).content.decode()


# Planning and going on


def test_each_contributor_is_left_out_once_a_repeat_and_nobody_once(
    valuation: Valuation, owner: User, contributor: User
) -> None:
    plan = [(one.repeat, one.left_out) for one in valuation.retrainings.all()]
    assert plan == [(r, who) for r in (0, 1) for who in (None, contributor, owner)]
    assert list(valuation.contributors.values_list("row_count", flat=True)) == [3, 2]


def test_the_budget_goes_to_those_with_most_rows(
    model: Model, builder: User, contributor: User, settings: LazySettings
) -> None:
    settings.CONTRIBUTOR_VALUE_MAX = 1
    left_out = start_valuation(model, actor=builder).retrainings.values_list("left_out", flat=True)
    assert set(left_out) == {None, contributor.pk}


def test_starting_twice_queues_one_retraining_and_says_so_once(
    valuation: Valuation, model: Model, builder: User
) -> None:
    assert start_valuation(model, actor=builder) == valuation
    assert (jobs().get().queue, jobs().get().owner) == ("ml", builder)
    assert AuditEntry.objects.filter(action__startswith="valuation").count() == 1


def test_the_next_is_queued_when_one_is_done_and_the_last_one_settles_it(
    valuation: Valuation, contributor: User
) -> None:
    do(valuation, 5, Carla=1.5, Olive=0.9)
    assert jobs().filter(state="queued").count() == 1
    do(valuation, 1, Carla=1.5, Olive=0.9)
    assert not jobs().filter(state="queued").exists()
    value = ContributorValue.objects.get(contributor=contributor)
    assert (value.measured, value.measured_low, value.measured_high) == (0.5, 0.5, 0.5)
    assert AuditEntry.objects.filter(action="valuation.measured").count() == 1


def test_a_failed_retraining_waits_until_a_person_asks(
    valuation: Valuation, model: Model, builder: User
) -> None:
    do(valuation, 5)
    end(valuation.retrainings.all()[5])
    with transaction.atomic():
        assert not queue_next(locked(valuation))
    start_valuation(model, actor=builder)
    assert jobs().get(state="queued").payload == {
        "retraining_id": valuation.retrainings.all()[5].pk
    }


def test_without_an_index_a_second_person_or_questions_there_is_nothing_to_measure(
    model: Model, index: AttributionIndex, builder: User, contributor: User, settings: LazySettings
) -> None:
    settings.CONTRIBUTOR_VALUE_MAX = 0
    with pytest.raises(NothingToValue):
        start_valuation(model, actor=builder)
    settings.CONTRIBUTOR_VALUE_MAX = 12
    Record.objects.exclude(contribution__contributor=contributor).update(state="withdrawn")
    with pytest.raises(NothingToValue):
        start_valuation(model, actor=builder)
    index.delete()
    with pytest.raises(NothingToValue):
        start_valuation(model, actor=builder)


# Stopping


def test_stopping_keeps_what_is_done_and_going_on_starts_there(
    valuation: Valuation, model: Model, builder: User
) -> None:
    do(valuation, 2)
    stop_valuation(model, actor=builder)
    stop_valuation(model, actor=builder)
    assert value_measurement_for(builder, model).state == "stopped"
    assert jobs().filter(state="cancelled").count() == 1
    assert AuditEntry.objects.filter(action="valuation.stopped").count() == 1
    start_valuation(model, actor=builder)
    assert jobs().get(state="queued").payload == {
        "retraining_id": valuation.retrainings.all()[2].pk
    }


def test_a_retraining_that_ends_after_the_stop_queues_no_other(
    valuation: Valuation, model: Model, builder: User
) -> None:
    jobs().update(state="running", lease_until=Now(), started_at=Now())
    stop_valuation(model, actor=builder)
    assert value_measurement_for(builder, model).state == "stopping"
    with pytest.raises(StillStopping):
        start_valuation(model, actor=builder)
    do(valuation, 1)
    assert not jobs().filter(state="queued").exists()


# The estimate


@pytest.mark.parametrize(("pays", "queued"), [(True, 1), (False, 0)])
def test_a_calibration_that_beats_chance_gives_an_estimate_at_once(
    model: Model, index: AttributionIndex, builder: User, pays: bool, queued: int
) -> None:
    start_calibration(model, actor=builder)
    Calibration.objects.update(fidelity={"pays": pays}, digest="2" * 64, ready_at=Now())
    for _ in range(2):
        with transaction.atomic():
            queue_estimate(index)
    assert jobs("modelfactory.value_estimate").count() == queued
    assert value_measurement_for(builder, model).estimating is bool(queued)


# Rows and rights


def refused(valuation: Valuation) -> str:
    run_job(str(valuation.retrainings.all()[1].job_id))
    return str(Job.objects.get(pk=valuation.retrainings.all()[1].job_id).error_code)


def test_a_row_withdrawn_since_ends_it_with_words_for_the_owner(
    client: Client, valuation: Valuation, builder: User, settings: LazySettings
) -> None:
    do(valuation, 1)
    Record.objects.filter(pk=Record.objects.all()[0].pk).update(state="withdrawn")
    assert refused(valuation) == "rows_changed"
    assert "Start a new run on the newest version" in page_of(client, builder)
    assert not list(Path(settings.RUNS_DIR).glob("*"))


def test_the_rows_are_not_read_again_without_the_right_to_train(valuation: Valuation) -> None:
    do(valuation, 1)
    datanet = valuation.index.run.version.datanet
    datanet.visibility = "private"
    datanet.save()
    assert refused(valuation) == "no_right_to_train"


class RevokedWhilePreparing(Lease):
    """The right ends once the rows were read and before the trainer has begun."""

    def report(self, kind: str, **figures: Any) -> None:
        super().report(kind, **figures)
        if kind == "preparing":
            Datanet.objects.update(visibility="private")


def test_a_right_that_ends_meanwhile_ends_the_retraining(
    valuation: Valuation, settings: LazySettings
) -> None:
    settings.JOB_HEARTBEAT_SECONDS, settings.JOB_LEASE_SECONDS = 3_000, 6_000
    do(valuation, 1)
    retraining = valuation.retrainings.all()[1]
    Job.objects.filter(pk=retraining.job_id).update(
        state="running", attempt=1, lease_until=Now() + timedelta(hours=1)
    )
    lease = RevokedWhilePreparing(Job.objects.get(pk=retraining.job_id))
    with pytest.raises(JobFailed, match="right to train"):
        measure_contributor(lease, retraining)
    retraining.refresh_from_db()
    assert retraining.done_at is None
    assert not list(Path(settings.RUNS_DIR).glob("*"))


@pytest.mark.parametrize(
    "fields", [{"done_at": Now()}, {"position": 1}, {"repeat": 1}, {"left_out": None, "repeat": 1}]
)
def test_the_database_refuses_a_retraining_that_cannot_be(
    valuation: Valuation, fields: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        valuation.retrainings.filter(position=0).update(**fields)


def test_the_database_refuses_a_figure_outside_its_interval(valuation: Valuation) -> None:
    for name in ("estimate", "measured"):
        outside = {name: 2.0, f"{name}_low": 0.0, f"{name}_high": 1.0}
        with pytest.raises(IntegrityError), transaction.atomic():
            valuation.contributors.update(**outside)


# The page


def test_visitors_read_that_nobody_measured_it_and_get_no_button(
    client: Client, model: Model
) -> None:
    for path in (PAGE, PANEL):
        page = page_of(client, path=path)
        assert "Who made this model better?" in page
        assert "Nobody has measured it yet." in page
        assert MEASURE not in page


def test_the_owner_starts_it_with_one_button_and_the_page_follows(
    client: Client, model: Model, builder: User
) -> None:
    page = page_of(client, builder, PAGE)
    assert "It takes 6 trials" in page
    assert client.post(MEASURE, {"idempotency_key": "m"})["Location"] == f"{PAGE}#value"
    page = page_of(client, path=PAGE)
    assert "Waiting for a free trainer." in page
    assert f'data-live-url="{PANEL}"' in page
    assert "data-live-done" not in page_of(client)
    do(Valuation.objects.get(), 2)
    assert "2 of 6 trials" in page_of(client)


def test_only_the_owner_may_start_and_stop_it(
    client: Client, valuation: Valuation, stranger: User
) -> None:
    for path in (MEASURE, STOP):
        assert client.post(path)["Location"].startswith("/accounts/login/")
    client.force_login(stranger)
    assert STOP not in page_of(client)
    for path in (MEASURE, STOP):
        assert (client.post(path).status_code, client.get(path).status_code) == (404, 405)
    assert client.post(PANEL).status_code == 405
    assert client.get("/factory/models/nothing/value/").status_code == 404


def test_the_owner_stops_it_with_a_plain_form_and_goes_on(
    client: Client, valuation: Valuation, builder: User
) -> None:
    assert f'action="{STOP}"' in page_of(client, builder)
    assert client.post(STOP)["Location"] == f"{PAGE}#value"
    page = page_of(client)
    assert "It was stopped by its owner. 0 of 6 trials are done and kept." in page
    assert "Go on trying" in page
    assert "data-live-done" in page


def test_measured_contributors_are_told_in_words_best_first(
    client: Client, valuation: Valuation
) -> None:
    do(valuation, 6, Carla=1.0, Olive=1.5)
    page = page_of(client)
    assert "each word of a right answer gets 39 % less likely" in page
    assert "no difference that we can be sure of" in page
    assert page.index("Olive") < page.index("Carla")
    assert "trained again without them, 2 times" in page
    assert MEASURE not in page


def test_an_estimate_is_called_one(valuation: Valuation) -> None:
    value = valuation.contributors.all()[0]
    value.estimate, value.estimate_low, value.estimate_high = -0.1, -0.2, -0.05
    line = value_line(value, 2, shows_rows=True)
    assert (line.how, line.row_count) == ("estimated, not tried", 3)
    assert line.words == "each word of a right answer gets 11 % likelier"
    assert line.range == "22 % likelier to 5 % likelier"


@pytest.mark.parametrize("may_read", [False, True])
def test_of_private_data_strangers_read_owner_and_score_only(
    client: Client, private_version: Version, base: BaseModel, builder: User, stranger: User,
    may_read: bool,
) -> None:  # fmt: skip
    grants = private_version.datanet.grants
    grants.create(user=builder, right="train", purpose="Learning", state="granted")
    if may_read:
        grants.create(user=stranger, right="read", purpose="Reading", state="granted")
    run = start_run(builder=builder, name="B", version=private_version, base=base, effort="quick")
    index_for(settle(run))
    publish_model(run, name="Birds", slug="birds", card="", visibility="public", **PRICES)
    do(start_valuation(Model.objects.get(), actor=builder), 6, Carla=1.5)
    page = page_of(client, stranger)
    assert "Carla" in page
    assert "39 % less likely" in page
    assert ('data-label="Rows"' in page) == may_read
    assert "eggs" not in page


def test_a_private_model_keeps_its_panel_to_itself(
    client: Client, stranger: User, index: AttributionIndex, make_model: Callable[..., Model]
) -> None:
    make_model("private")
    assert client.get(PANEL).status_code == 404
    client.force_login(stranger)
    assert client.get(PANEL).status_code == 404


def test_one_person_alone_cannot_be_left_out(client: Client, model: Model, builder: User) -> None:
    model.contributors.all()[0].delete()
    page = page_of(client, builder)
    assert "One person gave all its rows" in page
    assert MEASURE not in page


def test_the_panel_asks_the_database_the_same_for_any_number_of_people(
    client: Client, valuation: Valuation, stranger: User, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(14):
        page_of(client)


# With a real trainer


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(600)
def test_real_retrainings_find_whose_rows_the_questions_are_about(
    start: Callable[..., Run], builder: User, settings: LazySettings
) -> None:
    settings.CONTRIBUTOR_VALUE_REPEATS = 1
    run = start(epochs=30)
    finish_job(run.job_id)
    run.refresh_from_db()
    model = publish_model(run, name="B", slug="birds", card="", visibility="public", **PRICES)
    valuation = start_valuation(model, actor=builder)
    for one in valuation.retrainings.all():
        finish_job(valuation.retrainings.get(pk=one.pk).job_id)
    valuation.refresh_from_db()
    assert valuation.ready_at is not None
    assert all(value.measured is not None for value in valuation.contributors.all())
    assert valuation.seconds > 0
    assert not list(Path(settings.RUNS_DIR).glob("value-*")), "nothing of the retrainings stays"
