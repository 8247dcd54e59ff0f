"""What may be seen, and in which shape: runs by their builder, models by their visibility."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import median
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404
from django.urls import reverse

from datanets.selectors import readable_by, visible_to
from modelfactory.models import (
    AttributionIndex,
    BaseModel,
    Calibration,
    CalibrationSubset,
    ContributorValue,
    EvaluationResult,
    Model,
    OutputGuard,
    Run,
    Valuation,
    ValueRetraining,
)
from openledger_site.core.models import Job, JobEvent

CURVE_POINTS_MAX = 400
LOG_EVENTS_MAX = 12
ROWS_TO_HALVE_MIN = 4
"""Of fewer rows there are too few different halves to tell one row from another."""


def bases_offered() -> QuerySet[BaseModel]:
    return BaseModel.objects.filter(active=True)


def runs_of(user: Any) -> QuerySet[Run]:
    """The runs `user` built, newest first, with what a list shows."""
    related = ("version__datanet", "base", "job", "model")
    return Run.objects.filter(builder=user).select_related(*related).order_by("-created_at")


def run_for(user: Any, public_id: UUID) -> Run:
    """The run, for its builder; 404 for everybody else."""
    related = ("version__datanet", "base", "job", "model")
    run = (
        Run.objects.filter(public_id=public_id, builder_id=user.pk).select_related(*related).first()
    )
    if run is None:
        raise Http404("No such run.")
    return run


def models_visible_to(user: Any) -> QuerySet[Model]:
    """Public models, and one's own; `user` may be anonymous."""
    visible = Q(visibility=Model.Visibility.PUBLIC)
    if user.is_authenticated:
        visible |= Q(owner_id=user.pk)
    # A public model may have learnt from a Datanet whose very name is private.
    data_seen = Exists(visible_to(user).filter(pk=OuterRef("run__version__datanet")))
    related = ("owner", "base", "run__version__datanet", "run__guard")
    return Model.objects.filter(visible).select_related(*related).annotate(data_seen=data_seen)


def stake_subjects(user: Any, ids: Collection[UUID]) -> dict[UUID, tuple[str, str, int]]:
    """Name, page and owner of the models that this person may see and stake on."""
    seen = models_visible_to(user).filter(public_id__in=ids)
    pages = {row.pk: reverse("modelfactory:model-detail", args=[row.slug]) for row in seen}
    return {row.public_id: (row.name, pages[row.pk], row.owner_id) for row in seen}


def model_for(user: Any, slug: str) -> Model:
    """The model if `user` may see it; 404 whether it is missing or private."""
    model = models_visible_to(user).filter(slug=slug).first()
    if model is None:
        raise Http404("No such model.")
    return model


def model_owned_by(user: Any, slug: str) -> Model:
    """The model for its owner; 404 for everybody else, whether they may see it or not."""
    model = models_visible_to(user).filter(slug=slug, owner_id=user.pk).first()
    if model is None:
        raise Http404("No such model.")
    return model


def guard_of(run: Run) -> OutputGuard | None:
    """What its output guard had to withhold; None of a run from before there were guards."""
    guard: OutputGuard | None = getattr(run, "guard", None)
    return guard


def index_of(adapter_digest: str) -> AttributionIndex | None:
    """The attribution index of an adapter, ready or not; None when there was never one."""
    indexes = AttributionIndex.objects.select_related("job", "run", "calibration__job")
    return indexes.filter(adapter_digest=adapter_digest).first() if adapter_digest else None


def can_be_calibrated(index: AttributionIndex) -> bool:
    """Whether retraining on halves of the rows is switched on, possible, and of any use."""
    usable = index.state in ("ready", *Job.UNFINISHED)
    enough = index.run.training_row_count >= ROWS_TO_HALVE_MIN
    return usable and enough and settings.CALIBRATION_SUBSETS > 0


@dataclass(frozen=True)
class Measurement:
    """Where an adapter's calibration stands: unmeasured, measuring, stopping, stopped or measured.

    `seconds_left` of the retrainings, as long as those that are done took; None before the first.
    `stopped_by` is the job that ended it, None when its owner stopped it between two.
    """

    state: str
    done: int = 0
    total: int = 0
    calibration: Calibration | None = None
    stopped_by: Job | None = None
    seconds_left: float | None = None

    @property
    def final(self) -> bool:
        """Asking for it again would end the same way."""
        final = ("rows_changed", "calibration_unusable")
        return self.stopped_by is not None and self.stopped_by.error_code in final

    @property
    def stopped_by_owner(self) -> bool:
        asked = self.calibration is not None and self.calibration.stopped_at is not None
        return asked or (self.stopped_by is not None and self.stopped_by.state == "cancelled")


def measurement_of(index: AttributionIndex | None) -> Measurement:
    """Read the calibration's rows once; its state follows from its jobs and is never stored."""
    calibration: Calibration | None = getattr(index, "calibration", None)
    if index is None or calibration is None:
        return Measurement("unmeasured")
    subsets = list(calibration.subsets.select_related("job"))
    done = sum(subset.done_at is not None for subset in subsets)
    counts = (done, len(subsets), calibration)
    if calibration.ready_at is not None:
        return Measurement("measured", *counts)
    jobs = [subset.job for subset in subsets if subset.done_at is None] or [calibration.job]
    known = [job for job in jobs if job is not None]
    if any(not job.ended for job in known):
        state = "measuring" if calibration.stopped_at is None else "stopping"
        return Measurement(state, *counts, seconds_left=_seconds_left(subsets))
    # With all retrainings done it is the index that the fit waits for.
    waits = done == len(subsets) and not known and index.job is not None and not index.job.ended
    if waits and calibration.stopped_at is None:
        return Measurement("measuring", *counts)
    return Measurement("stopped", *counts, stopped_by=known[0] if known else None)


def _seconds_left(subsets: list[CalibrationSubset]) -> float | None:
    """What is left to retrain, in the time that one of those done took."""
    done = [subset.job for subset in subsets if subset.done_at is not None]
    took = [
        (job.ended_at - job.started_at).total_seconds()
        for job in done
        if job is not None and job.ended_at is not None and job.started_at is not None
    ]
    if not took:
        return None
    left = sum(
        1 - (subset.job.progress / 1000 if subset.job is not None else 0)
        for subset in subsets
        if subset.done_at is None
    )
    return median(took) * left


def can_be_valued(index: AttributionIndex) -> bool:
    """Whether leaving out contributors is switched on, and there are questions to measure it by."""
    asked = EvaluationResult.objects.filter(run_id=index.run_id, retrieved=False).exists()
    return asked and settings.CONTRIBUTOR_VALUE_MAX > 0


@dataclass(frozen=True)
class ValueMeasurement:
    """Where measuring an adapter's contributors stands, and what is known so far.

    `state`: unmeasured, waiting, measuring, stopping, stopped or measured. `values` hold a
    contributor, figures and no text; `shows_rows` is for people who may read the data.
    """

    state: str
    valuation: Valuation | None = None
    done: int = 0
    total: int = 0
    stopped_by: Job | None = None
    values: tuple[ContributorValue, ...] = ()
    shows_rows: bool = False

    @property
    def estimating(self) -> bool:
        job = self.valuation.estimate_job if self.valuation is not None else None
        return job is not None and not job.ended

    @property
    def live(self) -> bool:
        return self.estimating or self.state in ("waiting", "measuring", "stopping")

    @property
    def stopped_by_owner(self) -> bool:
        asked = self.valuation is not None and self.valuation.stopped_at is not None
        return asked or (self.stopped_by is not None and self.stopped_by.state == "cancelled")


def value_measurement_for(user: Any, model: Model) -> ValueMeasurement:
    """Of a model that `user` may see: of a private Datanet owners and scores only."""
    rows = Valuation.objects.select_related("estimate_job")
    valuation = rows.filter(index__adapter_digest=model.adapter_digest).first()
    if valuation is None:
        return ValueMeasurement("unmeasured")
    retrainings = list(valuation.retrainings.select_related("job"))
    readable = readable_by(user).filter(pk=model.run.version.datanet_id).exists()
    state, stopped_by = _value_state(valuation, retrainings)
    return ValueMeasurement(
        state,
        valuation,
        done=sum(one.done_at is not None for one in retrainings),
        total=len(retrainings),
        stopped_by=stopped_by,
        values=tuple(valuation.contributors.select_related("contributor")),
        shows_rows=readable,
    )


def _value_state(
    valuation: Valuation, retrainings: list[ValueRetraining]
) -> tuple[str, Job | None]:
    """The state and the job that ended it; it follows from the jobs and is never stored."""
    if valuation.ready_at is not None or not retrainings:
        return ("measured" if retrainings else "unmeasured"), None
    jobs = [one.job for one in retrainings if one.done_at is None and one.job is not None]
    going = [job for job in jobs if not job.ended]
    if not going:
        return "stopped", jobs[0] if jobs else None
    if valuation.stopped_at is not None:
        return "stopping", None
    begun = any(one.done_at is not None for one in retrainings)
    running = any(job.state == Job.State.RUNNING for job in going)
    return ("measuring" if begun or running else "waiting"), None


@dataclass(frozen=True)
class Progress:
    """Where a run stands, from its job's rows; None where a figure is not known yet."""

    step: int | None
    steps: int | None
    loss: float | None
    tokens_per_second: float | None
    remaining_seconds: int | None


@dataclass(frozen=True)
class RunEvents:
    """The loss curve [(step, loss), …], the last events for the log, and the newest figures."""

    curve: list[tuple[int, float]]
    log: list[JobEvent]
    progress: Progress


def run_events(run: Run) -> RunEvents:
    """Read a run's events once. A step taken again after an interruption counts once."""
    if run.job is None:
        return RunEvents([], [], Progress(None, None, None, None, None))
    events = list(run.job.events.order_by("id"))
    losses: dict[int, float] = {}
    newest: dict[str, Any] = {}
    for event in events:
        if event.kind == "step":
            if "loss" in event.data:
                losses[event.data["step"]] = event.data["loss"]
            newest = event.data
    progress = Progress(
        newest.get("step"),
        newest.get("steps"),
        newest.get("loss"),
        newest.get("tokens_per_second"),
        newest.get("remaining_seconds"),
    )
    log = [event for event in events if event.kind != "step"][-LOG_EVENTS_MAX:]
    return RunEvents(thin(sorted(losses.items())), log, progress)


def loss_curve(run: Run) -> list[tuple[int, float]]:
    """The whole curve of a settled run, or what its events tell so far."""
    stored = run.metrics.get("losses")
    if stored:
        return thin([(int(step), float(loss)) for step, loss in stored])
    return run_events(run).curve


def thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `CURVE_POINTS_MAX` points, evenly taken, the last one always."""
    stride = -(-len(points) // CURVE_POINTS_MAX) or 1
    return points[::stride] if (len(points) - 1) % stride == 0 else [*points[::stride], points[-1]]


@dataclass(frozen=True)
class Score:
    """How many questions were answered right, by the base and by the tuned model."""

    questions: int
    base_correct: int
    tuned_correct: int

    @property
    def base_percent(self) -> int:
        return round(100 * self.base_correct / self.questions)

    @property
    def tuned_percent(self) -> int:
        return round(100 * self.tuned_correct / self.questions)

    @property
    def better(self) -> bool:
        return self.tuned_correct > self.base_correct


@dataclass(frozen=True)
class Verdict:
    """The held-out questions asked from memory, and with the best-fitting rows at hand."""

    memory: Score
    rows_at_hand: Score | None

    @property
    def better(self) -> bool:
        return self.memory.better or (self.rows_at_hand is not None and self.rows_at_hand.better)

    @property
    def figures(self) -> list[tuple[str, str, str]]:
        """Label, value and help of each figure."""
        shown = [("from memory", self.memory)]
        shown += [("with rows at hand", self.rows_at_hand)] if self.rows_at_hand else []
        return [
            (f"{who}, {how}", f"{percent} %", f"{correct} of {score.questions} right")
            for how, score in shown
            for who, percent, correct in (
                ("Base", score.base_percent, score.base_correct),
                ("Tuned", score.tuned_percent, score.tuned_correct),
            )
        ]


def verdict_of(run: Run) -> Verdict | None:
    """The verdict; None when nothing was held out, or before the run is settled."""
    rows = run.evaluation_results.values_list("retrieved", "base_correct", "tuned_correct")
    marks = list(rows)
    memory, at_hand = (
        [(base, tuned) for with_rows, base, tuned in marks if with_rows is wanted]
        for wanted in (False, True)
    )
    if not memory:
        return None
    return Verdict(_score(memory), _score(at_hand) if at_hand else None)


def _score(marks: list[tuple[bool, bool]]) -> Score:
    return Score(len(marks), sum(base for base, _ in marks), sum(tuned for _, tuned in marks))


def evaluation_table(run: Run, limit: int = 24) -> list[EvaluationResult]:
    """Answers from memory: what the tuned model got wrong first, then what it learnt.

    Without questions about rows that were withdrawn since: those are emptied."""
    order = ("tuned_correct", "base_correct", "position")
    asked = run.evaluation_results.filter(retrieved=False).exclude(question="")
    return list(asked.order_by(*order)[:limit])
