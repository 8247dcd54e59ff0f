"""Jobs: start one, run it under a lease, follow it, cancel it, and wake the ones left behind.

States: queued → running → succeeded | failed | cancelled, and back to queued when a handler crashes
or postpones itself. A worker holds a running job by a lease
that it renews with a heartbeat; when the lease runs out, `sweep` queues the job again and the next
claim raises `attempt`, which fences the old worker off. All times are the database's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.http import Http404
from psycopg.errors import LockNotAvailable

from openledger_site.core import push
from openledger_site.core.errors import DomainError, NotAllowed
from openledger_site.core.logs import current_request_id
from openledger_site.core.models import Job, JobEvent
from openledger_site.core.outbox import send_on_commit

logger = logging.getLogger(__name__)

# A broker that lost a wake-up costs this long; one that is only slow gets no flood of repeats.
JOB_WAKE_AGAIN_SECONDS = 30

Handler = Callable[["Lease"], None]
_handlers: dict[str, Handler] = {}
_for_others: set[str] = set()


class LeaseLost(Exception):
    """Another worker holds this job now: stop, and write nothing more."""


class JobCancelled(Exception):
    """The owner asked to stop: the handler saved what it wanted to keep."""


class JobPostponed(Exception):
    """Something that this job needs is being made: try again later, however often that takes.

    Unlike a crash it uses up none of the job's attempts. `message` is shown to the owner.
    """

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.message, self.seconds = message, seconds


class JobFailed(DomainError):
    """A failure that trying again will not mend; `code` and `message` are shown to the owner."""


class NotToBeStopped(NotAllowed):
    code = "not_to_be_stopped"
    message = "This is not stopped by hand: other people are paid or protected by it."


def handles(kind: str, *, for_others: bool = False) -> Callable[[Handler], Handler]:
    """Register the function that runs jobs of `kind`. It takes a `Lease` and may run twice.

    `for_others`: somebody else is paid or protected by it, so whoever owns it cannot stop it.
    """
    if for_others:
        _for_others.add(kind)

    def register(handler: Handler) -> Handler:
        if kind in _handlers and _handlers[kind].__qualname__ != handler.__qualname__:
            raise RuntimeError(f"Two handlers for jobs of kind {kind}.")
        _handlers[kind] = handler
        return handler

    return register


def start_job(
    kind: str, *, queue: str, subject: str, owner: Any = None, payload: dict[str, Any] | None = None
) -> Job:
    """Queue work about `subject`; with one unfinished already, return that one.

    Call inside the transaction that makes the work necessary: both commit or neither does.
    """
    if kind not in _handlers:
        raise LookupError(f"No handler for jobs of kind {kind}.")
    try:
        with transaction.atomic():
            job = Job.objects.create(
                kind=kind,
                queue=queue,
                subject=subject,
                owner=owner,
                payload=payload or {},
                woken_at=Now(),
                attempts_max=settings.JOB_ATTEMPTS_MAX,
            )
    except IntegrityError:
        return Job.objects.get(kind=kind, subject=subject, state__in=Job.UNFINISHED)
    send_on_commit("core.run_job", queue=queue, job_id=str(job.pk))
    return job


class Lease:
    """A worker's hold on one attempt of a job. Every write checks that the hold still stands."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.attempt = job.attempt
        self._lost = threading.Event()

    def _write(self, **values: Any) -> None:
        held = Job.objects.filter(pk=self.job.pk, attempt=self.attempt, state=Job.State.RUNNING)
        if held.update(**values) != 1:
            self._lost.set()
            raise LeaseLost(str(self.job.pk))

    def check(self) -> None:
        """Raise `LeaseLost` or `JobCancelled`; call between steps and before outside effects."""
        if self._lost.is_set():
            raise LeaseLost(str(self.job.pk))
        row = (
            Job.objects.filter(pk=self.job.pk).values("attempt", "state", "cancel_requested").get()
        )
        if row["attempt"] != self.attempt or row["state"] != Job.State.RUNNING:
            raise LeaseLost(str(self.job.pk))
        if row["cancel_requested"]:
            raise JobCancelled(str(self.job.pk))

    def heartbeat(self) -> None:
        self._write(heartbeat_at=Now(), lease_until=_lease_end())

    def report(
        self, kind: str, *, progress: int | None = None, message: str = "", **data: Any
    ) -> None:
        """Add an event (numbers and fixed words only) and renew the lease."""
        values: dict[str, Any] = {"heartbeat_at": Now(), "lease_until": _lease_end()}
        if progress is not None:
            values["progress"] = max(0, min(1000, progress))
        if message:
            values["message"] = message[:200]
        with transaction.atomic():
            self._write(**values)
            JobEvent.objects.create(job=self.job, attempt=self.attempt, kind=kind, data=data)
        push.hint(f"job.{self.job.pk}")

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """A transaction that commits only while this lease stands: put a handler's writes in it."""
        with transaction.atomic():
            row = Job.objects.select_for_update().get(pk=self.job.pk)
            if row.attempt != self.attempt or row.state != Job.State.RUNNING:
                raise LeaseLost(str(self.job.pk))
            yield

    def _end(self, state: Job.State, *, message: str = "", error_code: str = "") -> None:
        values: dict[str, Any] = {"state": state, "ended_at": Now(), "lease_until": None}
        if state == Job.State.SUCCEEDED:
            values["progress"] = 1000
        values |= {"error_code": error_code[:60], "message": message[:200]} if message else {}
        with transaction.atomic():
            self._write(**values)
            JobEvent.objects.create(
                job=self.job, attempt=self.attempt, kind=state, data={"code": error_code}
            )
        push.hint(f"job.{self.job.pk}")


def run_job(job_id: str) -> None:
    """Claim a job and run its handler. Safe to call any number of times, from anywhere."""
    job = _claim(job_id)
    if job is None:
        return
    lease = Lease(job)
    token = current_request_id.set(f"job:{job.pk}")
    beating = threading.Event()
    beat = threading.Thread(target=_keep_alive, args=(lease, beating), daemon=True)
    beat.start()
    try:
        _run(lease)
    except LeaseLost:
        logger.warning("lease lost kind=%s attempt=%s", job.kind, job.attempt)
    finally:
        beating.set()
        beat.join(timeout=10)
        current_request_id.reset(token)


def _run(lease: Lease) -> None:
    job = lease.job
    try:
        if job.attempt > job.attempts_max:
            raise JobFailed(
                "This job was tried too often and was given up.", code="too_many_attempts"
            )
        lease.check()
        _handlers[job.kind](lease)
        lease._end(Job.State.SUCCEEDED)
    except JobCancelled:
        lease._end(Job.State.CANCELLED, message="Stopped on request.")
    except JobPostponed as pause:
        _postpone(lease, pause)
    except DomainError as failure:
        logger.info("job refused kind=%s code=%s", job.kind, failure.code)
        lease._end(Job.State.FAILED, message=failure.message, error_code=failure.code)
    except LeaseLost:
        raise
    except Exception:
        # The trace names code, not data; the owner gets a sentence, the sweep gets another try.
        logger.exception("job crashed kind=%s attempt=%s", job.kind, job.attempt)
        _retry(lease)


def _postpone(lease: Lease, pause: JobPostponed) -> None:
    """Queue the job again. `attempt` is the fencing token and counts up; so does its limit."""
    lease._write(
        state=Job.State.QUEUED,
        lease_until=None,
        wake_after=Now() + timedelta(seconds=pause.seconds),
        woken_at=None,
        attempts_max=F("attempts_max") + 1,
        message=pause.message[:200],
    )
    push.hint(f"job.{lease.job.pk}")


def _retry(lease: Lease) -> None:
    if lease.attempt >= lease.job.attempts_max:
        lease._end(
            Job.State.FAILED, message="Something broke on our side.", error_code="internal_error"
        )
        return
    delay = timedelta(seconds=min(60, 2**lease.attempt))
    lease._write(
        state=Job.State.QUEUED,
        lease_until=None,
        wake_after=Now() + delay,
        woken_at=None,
        message="Trying again.",
    )


def _claim(job_id: str) -> Job | None:
    claimed = Job.objects.filter(pk=job_id, state=Job.State.QUEUED, wake_after__lte=Now()).update(
        state=Job.State.RUNNING,
        attempt=F("attempt") + 1,
        lease_until=_lease_end(),
        heartbeat_at=Now(),
        started_at=Now(),
    )
    return Job.objects.get(pk=job_id) if claimed else None


def _lease_end() -> Any:
    return Now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)


def _keep_alive(lease: Lease, stop: threading.Event) -> None:
    try:
        while not stop.wait(settings.JOB_HEARTBEAT_SECONDS):
            # The handler itself holds the row in a long `fenced` transaction: nobody else can.
            with _without_lock_timeout():
                lease.heartbeat()
    except LeaseLost:
        logger.warning("lease lost while running job=%s", lease.job.pk)
    except Exception:
        logger.exception("heartbeat failed job=%s", lease.job.pk)
    finally:
        connection.close()


@contextmanager
def _without_lock_timeout() -> Iterator[None]:
    """Go on when a lock was waited for in vain."""
    try:
        yield
    except OperationalError as problem:
        if not isinstance(problem.__cause__, LockNotAvailable):
            raise


def sweep() -> int:
    """Queue again every job whose worker went silent, and re-send wake-ups that were lost."""
    _queue_abandoned()
    forgotten = timedelta(seconds=JOB_WAKE_AGAIN_SECONDS)
    overdue = Job.objects.filter(
        Q(woken_at__isnull=True) | Q(woken_at__lt=Now() - forgotten),
        state=Job.State.QUEUED,
        wake_after__lte=Now(),
    ).order_by("wake_after")
    woken = 0
    for job in overdue[:200]:
        with transaction.atomic():
            Job.objects.filter(pk=job.pk).update(woken_at=Now())
            send_on_commit("core.run_job", queue=job.queue, job_id=str(job.pk))
            woken += 1
    return woken


def _queue_abandoned() -> None:
    """Passes by a row that somebody holds: a long `fenced` transaction is no silence."""
    with transaction.atomic():
        silent = Job.objects.filter(state=Job.State.RUNNING, lease_until__lt=Now())
        pks = list(silent.select_for_update(skip_locked=True).values_list("pk", flat=True))
        Job.objects.filter(pk__in=pks).update(
            state=Job.State.QUEUED,
            lease_until=None,
            woken_at=None,
            message="Resuming after an interruption.",
        )


def cancel_job(job: Job) -> None:
    """Ask a job to stop; one that has not begun is cancelled at once."""
    with transaction.atomic():
        row = Job.objects.select_for_update().get(pk=job.pk)
        if row.state == Job.State.QUEUED:
            row.state, row.message = Job.State.CANCELLED, "Stopped before it began."
            row.save(update_fields=["state", "message"])
            Job.objects.filter(pk=row.pk).update(ended_at=Now())
        elif row.state == Job.State.RUNNING:
            row.cancel_requested = True
            row.save(update_fields=["cancel_requested"])
    push.hint(f"job.{job.pk}")


def may_be_stopped(job: Job) -> bool:
    return not job.ended and job.kind not in _for_others


def stop_job(job: Job) -> None:
    """`cancel_job` by hand. Raises `NotToBeStopped`."""
    if job.kind in _for_others:
        raise NotToBeStopped()
    cancel_job(job)


def job_for(user: Any, job_id: Any) -> Job:
    """The job, if `user` owns it or is staff; otherwise 404, whether it exists or not."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None or not (user.is_staff or (job.owner_id and job.owner_id == user.pk)):
        raise Http404("No such job.")
    return job


def job_for_now(user_id: Any, job_id: Any) -> Job:
    """`job_for` with the person as they are now, not as they were when a socket was opened."""
    user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
    return job_for(user or AnonymousUser(), job_id)
