"""The job behind an upload that takes too long for a request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from django.db import connection
from django.db.models.functions import Now

from datanets.models import Contribution, Record
from datanets.services import withdraw_contribution
from datanets.tests.conftest import jsonl
from openledger_site.core import jobs
from openledger_site.core.models import Job
from openledger_site.core.storage import blob_path
from openledger_site.core.waiting import rounds

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 5_500
WORKER = """
import django
django.setup()
from openledger_site.core.jobs import run_job
print("ready", flush=True)
run_job({job!r})
"""


def many_rows(count: int) -> bytes:
    return jsonl([{"question": f"What is number {at}?", "answer": str(at)} for at in range(count)])


@pytest.fixture
def queued(datanet, contributor, give):
    """More rows than a request stores."""
    return give(datanet, contributor, many_rows(ROWS))


def test_a_large_upload_goes_on_as_a_job_and_is_stored_once(queued):
    assert queued.state == "received"
    assert not Record.objects.exists()
    jobs.run_job(str(queued.job_id))
    jobs.run_job(str(queued.job_id))
    queued.refresh_from_db()
    assert (queued.state, queued.rows_accepted, queued.records.count()) == ("in_review", ROWS, ROWS)
    assert Job.objects.get().state == "succeeded"


def test_a_file_found_bad_by_the_job_leaves_no_row_and_no_file(queued):
    blob_path(queued.file_digest).write_bytes(b'{"question": "Why?"')
    jobs.run_job(str(queued.job_id))
    queued.refresh_from_db()
    assert queued.state == "rejected"
    assert queued.report["rejection"]["where"]
    assert not Record.objects.exists()
    assert not blob_path(queued.file_digest).exists()
    assert Job.objects.get().state == "failed"
    assert Job.objects.get().message


def test_a_contribution_withdrawn_while_it_waits_is_never_stored(queued, contributor):
    withdraw_contribution(contribution=queued, actor=contributor)
    jobs.run_job(str(queued.job_id))
    assert not Record.objects.exists()
    assert Job.objects.get().state == "cancelled"


def test_killing_the_worker_in_mid_parse_leaves_nothing_half_stored(queued, media):
    worker = start_worker(queued.job_id, media)
    wait_until(lambda: Contribution.objects.get().state == "parsing", worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert not Record.objects.exists()
    assert Contribution.objects.get().rows_read == 0
    Job.objects.update(lease_until=Now() - jobs.timedelta(seconds=1))
    jobs.sweep()
    jobs.run_job(str(queued.job_id))
    assert Record.objects.count() == ROWS
    assert Job.objects.get().attempt == 2


def start_worker(job_id, media) -> subprocess.Popen[bytes]:
    """A process of its own on the test's database and content store."""
    to = connection.get_connection_params()
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{to['user']}:@/{to['dbname']}?host={to['host']}",
        "OPENLEDGER_LOCAL_DIR": str(media.parent),
    }
    command = [sys.executable, "-c", WORKER.format(job=str(job_id))]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def wait_until(condition, worker, seconds: float = 120.0) -> None:
    for _ in rounds(seconds):
        if condition():
            return
        assert worker.poll() is None, "the worker ended before it was killed"
    raise AssertionError("the worker never began")
