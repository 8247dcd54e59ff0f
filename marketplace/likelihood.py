"""A difference of log-probabilities in plain words."""

from __future__ import annotations

import math

# Below this the ratio reads 1.0 to two digits: nobody would call the answers differently likely.
NATS_ALIKE = 0.05
# e^20 is half a billion: a ratio above it says no more to anybody than "a lot".
NATS_PLENTY = 20.0


def likelihood_in_words(difference_nats: float) -> str:
    """How likely an answer is without something that made it `difference_nats` likelier."""
    if abs(difference_nats) < NATS_ALIKE:
        return "about as likely"
    return f"{_times(difference_nats)} times {'less' if difference_nats > 0 else 'more'} likely"


def _times(nats: float) -> str:
    if abs(nats) > NATS_PLENTY:
        return "more than 100 million"
    ratio = math.exp(abs(nats))
    digits = 1 - math.floor(math.log10(ratio))  # two significant digits
    return f"{round(ratio, digits):,.{max(0, digits)}f}"
