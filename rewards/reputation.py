"""Reputation: a published number from 0 to 999, from paid answers, reviews and decided slashes.

    reputation = 1000 · (1 - 2^(-voices/10)) · 2^(-(rejections + faults))

- **voices**. Whoever paid for answers that your rows moved is one voice, never you yourself. A
  voice is full once your share of what those answers paid *to the platform* reaches `VOICE_WEI`.
  The platform's part comes back to no account of a payer, so a voice costs at least that much
  however many accounts stand behind it; money that goes round is worth nothing.
- **rejections**. A Datanet that rejected more than a fifth of your decided rows counts by how much
  more, fully from 20 rows on. Rows approved elsewhere do not outweigh it.
- **faults**. Each slash that was carried out on something that you owned when it was decided.

Everything fades: what was paid and reviewed by half in 180 days, a fault in 365. Stakes, balances
and gifts do not count, and nothing is paid by reputation, so it cannot feed itself. Any rule of
this kind that looked at who vouches for whom alone could be won by making accounts (Cheng and
Friedman, "Sybilproof reputation mechanisms", 2005); this one looks at what cannot come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FORMULA = 1
"""Counts the changes of this rule; stands beside every stored and issued number."""
SCORE_MAX = 999
HALF_LIFE_DAYS = 180
FAULT_HALF_LIFE_DAYS = 365
VOICES_TO_HALF = 10
TOLERATED_SHARE = 0.2
ROWS_TO_COUNT_FULLY = 20


@dataclass(frozen=True, slots=True)
class DecidedRows:
    """One contributor's decided rows in one Datanet, each weighted by its age."""

    datanet_id: str
    approved: float
    rejected: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reputation rests on; all of it already weighted by age."""

    voices: float = 0.0
    rejections: float = 0.0
    faults: float = 0.0

    @property
    def score(self) -> int:
        """0 to 999."""
        volume = 1 - 2 ** (-self.voices / VOICES_TO_HALF)
        return min(SCORE_MAX, int(1000 * volume * 2 ** -(self.rejections + self.faults)))


def voices(paid_wei: Iterable[float], voice_wei: int) -> float:
    """Of what each payer's answers paid to the platform by one's share, in wei, faded."""
    return sum(min(1.0, max(0.0, amount) / voice_wei) for amount in paid_wei)


def rejections(decided: Iterable[DecidedRows]) -> float:
    """How many halvings the reviewers' word is worth."""
    return sum(_above_tolerance(rows) for rows in decided)


def _above_tolerance(rows: DecidedRows) -> float:
    count = rows.approved + rows.rejected
    if count <= 0:
        return 0.0
    weight = min(1.0, count / ROWS_TO_COUNT_FULLY)
    excess = max(0.0, rows.rejected / count - TOLERATED_SHARE) / (1 - TOLERATED_SHARE)
    return weight * excess
