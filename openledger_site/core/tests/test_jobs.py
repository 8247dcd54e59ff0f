"""Jobs: one holder at a time, fenced writes, nothing forgotten."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.http import Http404

from openledger_site.core import jobs
from openledger_site.core.models import Job, JobEvent, OutboxMessage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def handler():
    """Register a handler that the test fills in; forget it afterwards."""
    calls = []

    def run(lease):
        for action in calls:
            action(lease)

    jobs._handlers["test.work"] = run
    yield calls
    del jobs._handlers["test.work"]


@pytest.fixture
def job(handler):
    return jobs.start_job("test.work", queue="sweeps", subject="thing:1")


def let_the_lease_run_out(job):
    Job.objects.filter(pk=job.pk).update(lease_until="2020-01-01T00:00:00Z")


def test_a_job_runs_and_succeeds(job):
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.progress, job.attempt) == ("succeeded", 1000, 1)


def test_asking_twice_starts_one_job(job):
    assert jobs.start_job("test.work", queue="sweeps", subject="thing:1") == job


def test_ten_workers_with_the_same_message_run_it_once(job, handler):
    runs = []
    handler.append(lambda lease: runs.append(lease.attempt))

    def work():
        jobs.run_job(str(job.pk))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert runs == [1]


def test_a_silent_worker_loses_the_job_to_the_next(job, handler):
    def sleep_past_the_lease(lease):
        if lease.attempt == 1:
            let_the_lease_run_out(job)
            jobs.sweep()
            jobs.run_job(str(job.pk))
            lease.report("step", progress=1)

    handler.append(sleep_past_the_lease)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("succeeded", 2)
    assert not JobEvent.objects.filter(job=job, kind="step").exists()


def test_a_fenced_write_of_an_old_attempt_is_undone(job, handler):
    def write_after_losing_the_lease(lease):
        Job.objects.filter(pk=job.pk).update(attempt=7)
        with lease.fenced():
            Job.objects.filter(pk=job.pk).update(message="written by a zombie")

    handler.append(write_after_losing_the_lease)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.message == ""


def test_a_crash_is_tried_again_later(job, handler):
    handler.append(lambda lease: 1 / 0)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("queued", 1)


def test_a_job_that_always_crashes_is_given_up(job, handler):
    handler.append(lambda lease: 1 / 0)
    for _ in range(job.attempts_max):
        Job.objects.filter(pk=job.pk).update(wake_after=Now())
        jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "internal_error")


def test_a_job_that_waits_for_another_uses_up_none_of_its_attempts(job, handler):
    def wait(lease):
        raise jobs.JobPostponed("Waiting for the index.", seconds=60)

    handler.append(wait)
    for _ in range(2 * job.attempts_max):
        Job.objects.filter(pk=job.pk).update(wake_after=Now())
        jobs.run_job(str(job.pk))
    jobs.run_job(str(job.pk))  # not yet: a minute has to pass
    job.refresh_from_db()
    assert (job.state, job.attempt, job.lease_until) == ("queued", 10, None)
    assert job.message == "Waiting for the index."
    handler.clear()
    Job.objects.filter(pk=job.pk).update(wake_after=Now())
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.state == "succeeded"


def test_a_refusal_is_final_and_in_plain_words(job, handler):
    def refuse(lease):
        raise jobs.JobFailed("The file is empty.", code="empty_file")

    handler.append(refuse)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.message, job.error_code) == (
        "failed",
        "The file is empty.",
        "empty_file",
    )


def test_a_queued_job_is_cancelled_at_once(job):
    jobs.cancel_job(job)
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert (job.state, job.attempt) == ("cancelled", 0)


def test_a_running_job_stops_at_its_next_check(job, handler):
    handler += [lambda lease: jobs.cancel_job(job), lambda lease: lease.check()]
    jobs.run_job(str(job.pk))
    job.refresh_from_db()
    assert job.state == "cancelled"


def test_a_lost_message_is_sent_again(job):
    Job.objects.filter(pk=job.pk).update(woken_at="2020-01-01T00:00:00Z")
    OutboxMessage.objects.all().delete()
    assert jobs.sweep() == 1
    assert OutboxMessage.objects.get().arguments == {"job_id": str(job.pk)}


def test_a_job_that_was_just_woken_is_left_alone(job):
    assert jobs.sweep() == 0


def test_only_the_owner_and_staff_see_a_job(job, owner, stranger):
    Job.objects.filter(pk=job.pk).update(owner=owner)
    assert jobs.job_for(owner, job.pk) == job
    with pytest.raises(Http404):
        jobs.job_for(stranger, job.pk)


def test_an_unknown_kind_fails_when_it_is_asked_for():
    with pytest.raises(LookupError):
        jobs.start_job("test.unknown", queue="sweeps", subject="thing:1")
