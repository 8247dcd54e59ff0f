"""What a run promises of single rows, as its pages say it (`docs/decisions/0051`).

The numbers stand in the run's recipe, which the database keeps from changing; what the noise keeps
is worked out from them each time, never believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelfactory.models import Run
from modelfactory.training.recipe import Privacy

UNIT = "one row with all its wordings"
HARDLY, UNSURE = 70, 85
"""Up to so many right guesses of a hundred one can hardly tell, or cannot be sure."""
FEW_ROWS = 500
"""With fewer, no run that was measured learnt a fact (docs/experiments.md)."""


@dataclass(frozen=True)
class Protection:
    """A run's privacy settings in the units that its pages show."""

    privacy: Privacy

    @property
    def epsilon_spent(self) -> float:
        return self.privacy.epsilon_spent

    @property
    def one_in(self) -> int:
        """δ as one in so many."""
        return round(1 / self.privacy.delta)

    @property
    def guess_percent(self) -> int:
        """Right guesses of a hundred, at most, of who knows every other row; 50 is chance."""
        return percent_guessed(self.privacy)

    @property
    def strength(self) -> str:
        return strength_of(self.privacy)

    @property
    def has_few_rows(self) -> bool:
        return self.privacy.record_count < FEW_ROWS

    @property
    def sampling_percent(self) -> float:
        return 100 * self.privacy.sampling_rate


def percent_guessed(privacy: Privacy) -> int:
    """`guessed_right_at_most` in percent, rounded up: it is a bound."""
    return min(100, int(100 * privacy.guessed_right_at_most) + 1)


def strength_of(privacy: Privacy) -> str:
    """What somebody who knows every other row can do, in words."""
    percent = percent_guessed(privacy)
    if percent <= HARDLY:
        return "could hardly tell"
    return "could not be sure" if percent <= UNSURE else "could often tell"


def protection_of(run: Run) -> Protection | None:
    """None where single rows are not protected."""
    if not run.recipe.get("privacy"):
        return None
    return Protection(Privacy.from_json_object(run.recipe["privacy"]))


def protection_object(run: Run) -> dict[str, Any] | None:
    """The same for programs: what `/v1/models` says of a model."""
    found = protection_of(run)
    if found is None:
        return None
    privacy = found.privacy
    return {
        "unit": "record",
        "covers": "adapter",
        "epsilon": privacy.epsilon,
        "epsilon_spent": round(privacy.epsilon_spent, 4),
        "delta": privacy.delta,
        "guessed_right_at_most": round(privacy.guessed_right_at_most, 4),
        "records": privacy.record_count,
        "sampling_rate": privacy.sampling_rate,
        "steps": privacy.steps,
        "noise_multiplier": privacy.noise_multiplier,
        "clip_norm": privacy.clip_norm,
    }


def protection_words(found: Protection) -> str:
    """The paragraph of a model's card."""
    return (
        f"Single rows are protected in its adapter: someone who knows every other row "
        f"{found.strength} whether yours was in it, and guesses right at most "
        f"{found.guess_percent} times in 100, where chance is 50 (differential privacy, "
        f"ε = {found.epsilon_spent:.2f}, δ = 1/{found.one_in:,}, for {UNIT})."
    )
