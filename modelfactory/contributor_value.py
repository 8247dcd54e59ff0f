"""What a model's page says of who made the model better. Reads only."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from modelfactory import selectors, services
from modelfactory.fidelity import GO_ON, HAPPENED, NEXT_STEPS
from modelfactory.models import ContributorValue, Model
from modelfactory.selectors import ValueMeasurement

Figures = tuple[float | None, float | None, float | None]
"""Nats per response token: the figure and its interval."""


@dataclass(frozen=True)
class ValueLine:
    """One contributor; `row_count` is None for readers who may not read the data."""

    name: str
    row_count: int | None
    nats: float | None
    low: float | None
    high: float | None
    how: str

    @property
    def known(self) -> bool:
        return self.nats is not None

    @property
    def words(self) -> str:
        """What happens to a right answer without their rows."""
        if self.nats is None or self.low is None or self.high is None:
            return ""
        if self.low <= 0 <= self.high:
            return "no difference that we can be sure of"
        return f"each word of a right answer gets {_percent(self.nats)}"

    @property
    def range(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"{_percent(self.low)} to {_percent(self.high)}"


def _percent(nats: float) -> str:
    """By how much a word's likelihood changes when its loss rises by `nats`."""
    change = 100 * (math.exp(-nats) - 1)
    size = f"{abs(change):.0f}" if abs(change) >= 1 else f"{abs(change):.1f}"
    return f"{size} % {'less likely' if change < 0 else 'likelier'}"


def value_line(value: ContributorValue, repeats: int, *, shows_rows: bool) -> ValueLine:
    """What is measured if it is, or what is estimated, or that neither is known."""
    rows = value.row_count if shows_rows else None
    if value.measured is not None:
        how = f"trained again without them, {repeats} time{'' if repeats == 1 else 's'}"
        figures: Figures = (value.measured, value.measured_low, value.measured_high)
    elif value.estimate is not None:
        how = "estimated, not tried"
        figures = (value.estimate, value.estimate_low, value.estimate_high)
    else:
        how, figures = "not known yet", (None, None, None)
    return ValueLine(value.contributor.name, rows, *figures, how)


def value_context(user: Any, model: Model) -> dict[str, Any]:
    """Everything of the panel, whatever its state."""
    found = selectors.value_measurement_for(user, model)
    repeats = found.valuation.repeat_count if found.valuation else 0
    lines = [value_line(one, repeats, shows_rows=found.shows_rows) for one in found.values]
    lines.sort(key=lambda line: -math.inf if line.nats is None else line.nats, reverse=True)
    people = model.contributors.count()
    why_not = _why_not(model, people)
    retrainings = found.total or _retrainings(people)
    seconds = services.seconds_left(model.run, 2 * (retrainings - found.done))
    return {
        "model": model,
        "value": found,
        "value_lines": lines,
        "value_any_known": any(line.known for line in lines),
        "value_why_not": why_not,
        "value_can_be_measured": not why_not and found.state in ("unmeasured", "stopped"),
        "value_happened": _happened(found),
        "value_next_step": _next_step(found),
        "value_retrainings": retrainings,
        "value_time": services.time_in_words(seconds) if seconds else "",
        "value_key": uuid.uuid4(),
    }


def _retrainings(people: int) -> int:
    """As many as a valuation that starts now will have."""
    left_out = min(people, int(settings.CONTRIBUTOR_VALUE_MAX))
    return max(1, int(settings.CONTRIBUTOR_VALUE_REPEATS)) * (left_out + 1)


def _why_not(model: Model, people: int) -> str:
    """Why this cannot be measured, and what would change that; empty if it can."""
    index = selectors.index_of(model.adapter_digest)
    if index is None:
        return "The model has no index of its rows. Train it again and publish that model."
    if settings.CONTRIBUTOR_VALUE_MAX <= 0:
        return "The operator of this site has switched it off."
    if people < 2:
        return "One person gave all its rows, so nobody can be left out."
    if not selectors.can_be_valued(index):
        return "No question was held back from training, so there is nothing to measure it by."
    return ""


def _happened(found: ValueMeasurement) -> str:
    if found.stopped_by_owner:
        return "It was stopped by its owner."
    job = found.stopped_by
    if job is None:
        return "It did not finish."
    return HAPPENED.get(job.error_code, job.message or "It did not finish.")


def _next_step(found: ValueMeasurement) -> str:
    if found.stopped_by_owner:
        return "Nothing is lost: go on from there whenever you like."
    job = found.stopped_by
    return NEXT_STEPS.get(job.error_code, GO_ON) if job is not None else GO_ON
