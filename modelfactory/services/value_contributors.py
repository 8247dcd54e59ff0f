"""Start measuring who made a model better, stop it, and keep its jobs coming.

Contributor leave-one-out: the run is repeated without one contributor's rows at a time. As in
`calibrate_model` each retraining queues the next one in the transaction that marks it done, so that
other people's runs go in between; the last one works out the effects. The estimate needs no
retraining and is queued as soon as there is a calibration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from modelfactory.attribution.contributor_effects import removal_effects
from modelfactory.models import (
    AttributionIndex,
    ContributorValue,
    Model,
    Run,
    Valuation,
    ValueRetraining,
)
from modelfactory.selectors import can_be_valued, index_of
from modelfactory.services.calibrate_model import StillStopping
from modelfactory.services.publish_model import rows_by_contributor
from modelfactory.services.retrainings import queue_turns, unended
from modelfactory.services.training_files import (
    even_choice,
    examples_digest,
    examples_of,
    held_out_questions,
)
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from openledger_site.core.jobs import cancel_job, start_job
from openledger_site.core.models import Job

VALUE_JOB = "modelfactory.value_retraining"
ESTIMATE_JOB = "modelfactory.value_estimate"
QUESTIONS_MAX = 100


class NothingToValue(Conflict):
    code = "nothing_to_value"
    message = (
        "This cannot be measured: it takes an index, held-out questions and rows of two people."
    )


def start_valuation(model: Model, *, actor: Any) -> Valuation:
    """Measure who made `model` better, or go on where measuring stopped.

    Doing it again while it goes on, or once it is done, changes nothing. Models with equal adapters
    share the measurement. Raises `NothingToValue`, and `StillStopping` right after a stop.
    """
    with transaction.atomic():
        index = index_of(model.adapter_digest)
        found = _valuation_of(index) if index is not None and can_be_valued(index) else None
        if found is None:
            raise NothingToValue()
        valuation = locked(found)
        if any(job.cancel_requested for job in _unended_jobs(valuation)):
            raise StillStopping()
        Valuation.objects.filter(pk=valuation.pk).update(stopped_at=None)
        valuation.stopped_at = None
        created = not valuation.retrainings.exists()
        if created:
            _plan_retrainings(valuation)
        queue_estimate(valuation.index)
        if queue_next(valuation, again=True):
            record_audit(
                "valuation.started" if created else "valuation.resumed",
                actor=actor,
                subject=f"adapter:{model.adapter_digest}",
                retrainings=valuation.retrainings.count(),
            )
    return valuation


def stop_valuation(model: Model, *, actor: Any) -> None:
    """Stop measuring: no further job is queued, and the one that is going saves and ends.

    What is done stays, and `start_valuation` goes on from there. Doing it again, or with nothing to
    stop, changes nothing. Call it outside a transaction: a retraining that ends locks its job and
    then the valuation, so the two are never held together here.
    """
    with transaction.atomic():
        found = Valuation.objects.filter(index__adapter_digest=model.adapter_digest).first()
        if found is None or found.ready_at is not None or not found.retrainings.exists():
            return
        valuation = locked(found)
        going = _unended_jobs(valuation)
        if valuation.stopped_at is None and valuation.ready_at is None:
            Valuation.objects.filter(pk=valuation.pk).update(stopped_at=Now())
            record_audit(
                "valuation.stopped",
                actor=actor,
                subject=f"adapter:{model.adapter_digest}",
                done=valuation.retrainings.filter(done_at__isnull=False).count(),
            )
    for job in going:
        cancel_job(job)


def locked(valuation: Valuation) -> Valuation:
    """The row, held until the transaction ends, so that two ends of jobs queue one next job."""
    rows = Valuation.objects.select_for_update(of=("self",)).select_related("index__run__builder")
    return rows.get(pk=valuation.pk)


def asked_questions(run: Run) -> list[dict[str, str]]:
    """The held-out questions that every retraining is asked, the same ones each time."""
    return list(even_choice(list(held_out_questions(run.version)), QUESTIONS_MAX))


def queue_next(valuation: Valuation, *, again: bool = False) -> bool:
    """Queue the retrainings whose turn it is, or settle; true if anything was queued.

    Needs the valuation `locked`. Nothing is queued once its owner stopped it. `again` as in
    `queue_turns`.
    """
    if valuation.stopped_at is not None or valuation.ready_at is not None:
        return False
    waiting = list(valuation.retrainings.filter(done_at=None).select_related("job"))
    if not waiting:
        _settle(valuation)
        return False
    return queue_turns(
        waiting,
        kind=VALUE_JOB,
        subject=f"valuation:{valuation.pk}",
        id_name="retraining_id",
        owner=valuation.index.run.builder,
        again=again,
    )


def queue_estimate(index: AttributionIndex) -> None:
    """Queue the estimate where a calibration that beats chance allows one and none is there yet.

    Call it in a transaction. Asked again after the estimate failed, it is queued again.
    """
    calibration = getattr(index_of(index.adapter_digest), "calibration", None)
    if calibration is None or not calibration.fidelity.get("pays") or not can_be_valued(index):
        return
    found = _valuation_of(index)
    if found is None:
        return
    valuation = locked(found)
    job = valuation.estimate_job
    if valuation.estimated_at is not None or (job is not None and not job.ended):
        return
    valuation.estimate_job = start_job(
        ESTIMATE_JOB,
        queue="attribution",
        subject=f"adapter:{index.adapter_digest}",
        owner=index.run.builder,
        payload={"valuation_id": valuation.pk},
    )
    valuation.save(update_fields=["estimate_job"])


def _valuation_of(index: AttributionIndex) -> Valuation | None:
    """The adapter's valuation, made with its contributors; None where there is nothing to ask."""
    known = Valuation.objects.filter(index=index).first()
    if known is not None:
        return known
    run = index.run
    people, questions = rows_by_contributor(run.version), asked_questions(run)
    if len(people) < 2 or not questions:
        return None
    learnt = run.rows_digest or examples_digest(examples_of(run.version))
    valuation, created = Valuation.objects.get_or_create(
        index=index,
        defaults={
            "rows_digest": learnt,
            "repeat_count": max(1, settings.CONTRIBUTOR_VALUE_REPEATS),
            "question_count": len(questions),
        },
    )
    if created:
        ContributorValue.objects.bulk_create(
            ContributorValue(valuation=valuation, contributor=person, row_count=count)
            for person, count in people
        )
    return valuation


def _plan_retrainings(valuation: Valuation) -> None:
    """Each repeat once with all rows, then without each of those with most rows, within budget."""
    chosen = valuation.contributors.all()[: settings.CONTRIBUTOR_VALUE_MAX]
    left_out = [None, *(one.contributor_id for one in chosen)]
    plan = [(repeat, person) for repeat in range(valuation.repeat_count) for person in left_out]
    ValueRetraining.objects.bulk_create(
        ValueRetraining(valuation=valuation, position=position, repeat=repeat, left_out_id=person)
        for position, (repeat, person) in enumerate(plan)
    )


def _settle(valuation: Valuation) -> None:
    """Work out the effects once every retraining is done."""
    losses: dict[int | None, list[list[float]]] = {}
    for one in valuation.retrainings.order_by("repeat"):
        losses.setdefault(one.left_out_id, []).append(one.losses)
    with_all = np.array(losses.pop(None))
    effects = removal_effects(with_all, {str(who): np.array(of) for who, of in losses.items()})
    for row in valuation.contributors.filter(contributor_id__in=losses):
        found = effects[str(row.contributor_id)]
        row.measured, row.measured_low, row.measured_high = found.mean, found.low, found.high
        row.save(update_fields=["measured", "measured_low", "measured_high"])
    Valuation.objects.filter(pk=valuation.pk).update(ready_at=Now())
    record_audit(
        "valuation.measured",
        actor="trainer",
        subject=f"adapter:{valuation.index.adapter_digest}",
        contributors=len(losses),
        repeats=valuation.repeat_count,
    )


def _unended_jobs(valuation: Valuation) -> list[Job]:
    """The retrainings that wait or run; the estimate is short and stays useful."""
    rows = valuation.retrainings.filter(done_at=None).select_related("job")
    return unended(one.job for one in rows)
