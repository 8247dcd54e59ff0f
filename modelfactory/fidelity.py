"""What a model's page says about how far its attribution can be trusted. Reads only."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from modelfactory import selectors, services
from modelfactory.models import AttributionIndex, Model
from modelfactory.selectors import Measurement
from openledger_site.core.models import Job

OURS = "Our score"
KINDS = {
    "trained": ("Trained words", "Asked in words it was trained on"),
    "rewording": ("New words", "Asked in words it never saw"),
}
SIGNALS = {
    "influence": "Pull of each row alone",
    "bm25": "Shared words alone (BM25)",
    "random": "Chance",
}

# What its owner can do after measuring ended with this error code. A job's own message says what
# happened, and may be worded for runs, which have other settings to try.
NEXT_STEPS = {
    "rows_changed": "Start a new run on the newest version, publish that model, and measure it.",
    "no_right_to_train": "Ask the Datanet's owner for the right to train; then go on here.",
    "calibration_unusable": (
        "Add rows whose answers differ to the Datanet, train on its next version, and measure that."
    ),
    "out_of_memory": (
        "Wait until the machine has less to do and go on; if it stops again, tell the operator."
    ),
}
GO_ON = "Go on from there; if it stops at the same place again, tell the operator."
HAPPENED = {
    "out_of_memory": "The machine ran out of memory.",
    "trainer_died": "The trainer broke off again and again.",
}


@dataclass(frozen=True)
class Agreement:
    """The rank correlation with real retraining for one kind of question; 1 is perfect."""

    label: str
    asked: str
    value: float
    low: float
    high: float
    beside: dict[str, float]

    @property
    def words(self) -> str:
        tenths = max(0, round(10 * self.value))
        if tenths == 0:
            return "predicts nothing of what really changes when rows are left out"
        part = "nearly all" if tenths == 10 else f"about {tenths} in 10"
        return f"predicts {part} of what really changes when rows are left out"


@dataclass(frozen=True)
class Fidelity:
    """The measured error, from the JSON that the fit left; what it left out is left out here."""

    agreements: list[Agreement]
    retrainings: int
    questions: int
    records: int
    withdrawn: int
    pays: bool
    noise_answers: int
    noise_paid: int

    @property
    def table(self) -> list[tuple[str, list[tuple[str, float | None]]]]:
        """A line for each score, ours first: its label, and its figure under each kind's label."""
        ours: list[tuple[str, float | None]] = [
            (each.label, each.value) for each in self.agreements
        ]
        lines = [(OURS, ours)]
        for signal in dict.fromkeys(name for each in self.agreements for name in each.beside):
            figures = [(each.label, each.beside.get(signal)) for each in self.agreements]
            lines.append((signal, figures))
        return lines


def fidelity_of(document: Mapping[str, Any]) -> Fidelity:
    found, beside = document.get("lds", {}), document.get("beside", {})
    gate = document.get("noise_gate", {})
    return Fidelity(
        agreements=[
            Agreement(label, asked, *_interval(found[kind]), _beside(beside, kind))
            for kind, (label, asked) in KINDS.items()
            if found.get(kind) and None not in found[kind]
        ],
        retrainings=int(document.get("subsets", 0)),
        questions=int(document.get("questions", 0)),
        records=int(document.get("records", 0)),
        withdrawn=int(document.get("withdrawn", 0)),
        pays=bool(document.get("pays")),
        noise_answers=int(gate.get("answers") or 0),
        noise_paid=round(float(gate.get("false_pay") or 0) * int(gate.get("answers") or 0)),
    )


def _interval(bounds: list[float]) -> tuple[float, float, float]:
    value, low, high = bounds
    return float(value), float(low), float(high)


def _beside(beside: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, float]:
    figures = ((label, beside.get(signal, {}).get(kind)) for signal, label in SIGNALS.items())
    return {label: float(value) for label, value in figures if value is not None}


def fidelity_context(model: Model) -> dict[str, Any]:
    """Everything of the panel, whatever its state."""
    index = selectors.index_of(model.adapter_digest)
    measurement = selectors.measurement_of(index)
    calibration = measurement.calibration
    measured = calibration is not None and measurement.state == "measured"
    possible = index is not None and selectors.can_be_calibrated(index) and not measurement.final
    return {
        "model": model,
        "index": index,
        "measurement": measurement,
        "fidelity": fidelity_of(calibration.fidelity) if calibration and measured else None,
        "can_be_measured": possible and measurement.state in ("unmeasured", "stopped"),
        "why_not": _why_not(index),
        "happened": _happened(measurement),
        "next_step": _next_step(measurement),
        "retrainings": measurement.total or settings.CALIBRATION_SUBSETS,
        "time_needed": _time_needed(model, measurement),
        "time_left": _time_left(model, measurement),
        "took": _duration(calibration.seconds) if calibration else "",
        "idempotency_key": uuid.uuid4(),
    }


def _why_not(index: AttributionIndex | None) -> str:
    """Why this model cannot be measured, and what would change that."""
    if index is None or index.state in (Job.State.FAILED, Job.State.CANCELLED):
        return "It has no index of its rows. Train it again and publish that model."
    if index.run.training_row_count < selectors.ROWS_TO_HALVE_MIN:
        return (
            f"It learnt {index.run.training_row_count} rows, and it takes "
            f"{selectors.ROWS_TO_HALVE_MIN} to leave different halves out. Train on more rows."
        )
    return "The operator of this site has switched measuring off."


def _happened(measurement: Measurement) -> str:
    """Why it stopped, in words about measuring."""
    if measurement.stopped_by_owner:
        return "It was stopped by its owner."
    job = measurement.stopped_by
    if job is None:
        return "It did not finish."
    return HAPPENED.get(job.error_code, job.message or "It did not finish.")


def _next_step(measurement: Measurement) -> str:
    if measurement.stopped_by_owner:
        return "Nothing is lost: go on from there whenever you like."
    job = measurement.stopped_by
    return NEXT_STEPS.get(job.error_code, GO_ON) if job is not None else GO_ON


def _time_needed(model: Model, measurement: Measurement) -> str:
    """Before anything was timed: a range."""
    total = measurement.total or settings.CALIBRATION_SUBSETS
    seconds = services.seconds_left(model.run, total - measurement.done)
    return services.time_in_words(seconds) if seconds else ""


def _time_left(model: Model, measurement: Measurement) -> str:
    """While it goes: `350` → "about 6 minutes"."""
    seconds = measurement.seconds_left
    if seconds is None:
        return _time_needed(model, measurement)
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return f"about {minutes} minute{'' if minutes == 1 else 's'}"
    return f"about {round(minutes / 60)} hours"


def _duration(seconds: float) -> str:
    """What was measured, so no range: `812` → "14 minutes"."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
