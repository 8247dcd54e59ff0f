"""A right to train that is taken back: no run goes on, none begins, nothing is published."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from datanets.models import Datanet
from datanets.services import decide_grant, request_access, revoke_grant
from modelfactory.models import Run
from modelfactory.services import (
    RightToServeEnded,
    publish_model,
    resume_run,
    retry_safer,
    start_run,
)
from modelfactory.tests.site.conftest import PRICES, settle
from modelfactory.tests.site.workers import in_thread, trainers_of, wait_until
from openledger_site.accounts.models import User
from openledger_site.core.jobs import run_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]
REVOKED_WITHIN_SECONDS = 1.0


@pytest.fixture
def revoke(version, owner: User, builder: User) -> Callable[[], None]:
    """The builder trains by a grant; calling this takes it back."""
    Datanet.objects.update(visibility="private")
    asked = request_access(datanet=version.datanet, user=builder, right="train", purpose="Birds")
    grant = decide_grant(grant=asked, actor=owner, granted=True)

    def take_back() -> None:
        revoke_grant(grant=grant, actor=owner, answer="Not as agreed")

    return take_back


def test_a_run_that_is_going_ends_within_a_second_and_leaves_nothing(
    start: Callable[..., Run], revoke: Callable[[], None]
) -> None:
    run = start(epochs=2_000)
    thread = in_thread(run.job_id)
    wait_until(lambda: run.job.events.filter(kind="step").exists(), "a step")
    revoke()
    began = time.monotonic()
    wait_until(lambda: not trainers_of(os.getpid()), "the trainer is gone")
    assert time.monotonic() - began <= REVOKED_WITHIN_SECONDS
    thread.join()
    run = Run.objects.select_related("job").get(pk=run.pk)
    assert (run.state, run.job.error_code) == ("failed", "no_right_to_train")
    assert not (Path(settings.RUNS_DIR) / str(run.public_id)).exists()


def test_a_run_that_waits_never_begins(run: Run, revoke: Callable[[], None]) -> None:
    revoke()
    run_job(str(run.job_id))
    run.job.refresh_from_db()
    assert (run.job.state, run.job.error_code) == ("failed", "no_right_to_train")
    assert not (Path(settings.RUNS_DIR) / str(run.public_id)).exists()


def test_no_new_run_is_started_resumed_or_tried_again(
    run: Run, revoke: Callable[[], None], client
) -> None:
    revoke()
    run_job(str(run.job_id))
    run.refresh_from_db()
    client.force_login(run.builder, backend="django.contrib.auth.backends.ModelBackend")
    form = {"name": "x", "version": run.version.public_id, "base": "small", "effort": "quick"}
    assert client.post("/factory/runs/start/", form).status_code in (404, 422)
    for again in (resume_run, retry_safer):
        with pytest.raises(Exception, match="No such version"):
            again(run)
    assert Run.objects.count() == 1


def test_what_it_trained_is_not_published(run: Run, revoke: Callable[[], None]) -> None:
    settled = settle(run)
    revoke()
    with pytest.raises(RightToServeEnded):
        publish_model(settled, name="B", slug="birds", card="", visibility="public", **PRICES)


def test_a_term_that_ran_out_ends_training_and_leaves_what_was_made(
    run: Run, revoke: Callable[[], None], base, version, builder: User
) -> None:
    from django.db.models.functions import Now

    settled = settle(run)
    version.datanet.grants.update(expires_at=Now())
    model = publish_model(settled, name="B", slug="birds", card="", visibility="public", **PRICES)
    assert model.slug == "birds"
    late = start_run(builder=builder, name="Late", version=version, base=base, effort="quick")
    run_job(str(late.job_id))
    late.job.refresh_from_db()
    assert late.job.error_code == "no_right_to_train"
