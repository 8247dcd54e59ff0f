"""What a model's page says about how far its attribution can be trusted. Reads only."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from modelfactory import selectors, services
from modelfactory.models import Model
from modelfactory.selectors import Measurement

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
        "retrainings": measurement.total or settings.CALIBRATION_SUBSETS,
        "time_left": _time_left(model, measurement),
        "took": _duration(calibration.seconds) if calibration else "",
        "idempotency_key": uuid.uuid4(),
    }


def _time_left(model: Model, measurement: Measurement) -> str:
    total = measurement.total or settings.CALIBRATION_SUBSETS
    seconds = services.seconds_left(model.run, total - measurement.done)
    return services.time_in_words(seconds) if seconds else ""


def _duration(seconds: float) -> str:
    """What was measured, so no range: `812` → "14 minutes"."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
