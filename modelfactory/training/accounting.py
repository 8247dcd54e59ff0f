"""What noise costs and buys: the privacy accountant of the Poisson-sampled Gaussian mechanism.

One step adds each record with probability `rate` to a sum in which it counts at most C, and normal
noise of deviation `noise_multiplier`·C. Neighbours are data with and without one record. Its Rényi
differential privacy at whole orders is that of Mironov, Talwar & Zhang 2019 ("Rényi Differential
Privacy of the Sampled Gaussian Mechanism", section 3.3); it adds up over steps, each of which may
depend on what the earlier ones gave out; (ε, δ) follow by Canonne, Kamath & Steinke 2020
(Proposition 12). Plain Python, because the web process plans runs with it.
"""

from __future__ import annotations

import math
from functools import lru_cache

ORDERS: tuple[int, ...] = (*range(2, 65), 96, 128, 256)
NOISE_PARTS = 1_000
"""A noise multiplier is a whole number of thousandths."""
_NOISE_LEAST, _NOISE_MOST = 0.05, 1e4


class AccountingError(ValueError):
    """A target that no noise within reason keeps."""


def renyi(rate: float, noise_multiplier: float, order: int) -> float:
    """Rényi divergence (nats) of whole `order` that one step can make between neighbours."""
    if rate == 1:
        return order / (2 * noise_multiplier**2)
    terms = [
        math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
        + (order - k) * math.log1p(-rate)
        + k * math.log(rate)
        + k * (k - 1) / (2 * noise_multiplier**2)
        for k in range(order + 1)
    ]  # fmt: skip
    largest = max(terms)
    logarithm = largest + math.log(math.fsum(math.exp(term - largest) for term in terms))
    return max(0.0, logarithm) / (order - 1)


@lru_cache(maxsize=256)
def epsilon_spent(rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
    """The ε that `steps` steps keep with this δ: the best that any of `ORDERS` proves."""
    proved = [
        steps * renyi(rate, noise_multiplier, order)
        + math.log1p(-1 / order)
        - math.log(delta * order) / (order - 1)
        for order in ORDERS
    ]
    return max(0.0, min(proved))


@lru_cache(maxsize=256)
def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The least noise multiplier, rounded up, with which `steps` steps spend at most `epsilon`.

    Raises AccountingError where even huge noise does not keep it.
    """
    low, high = _NOISE_LEAST, _NOISE_MOST
    if epsilon_spent(rate, high, steps, delta) > epsilon:
        raise AccountingError(f"no noise keeps epsilon {epsilon} at delta {delta}")
    while high - low > 0.1 / NOISE_PARTS:
        middle = (low + high) / 2
        if epsilon_spent(rate, middle, steps, delta) > epsilon:
            low = middle
        else:
            high = middle
    return math.ceil(high * NOISE_PARTS) / NOISE_PARTS


@lru_cache(maxsize=256)
def guessed_right_at_most(rate: float, noise_multiplier: float, steps: int) -> float:
    """How often, at most, someone who knows all but one record guesses whether that one was in,
    where a fair coin decided it: 0.5 is chance, 1 is certainty.

    ε bounds this too, though so badly (e^ε / (1 + e^ε)) that it says nothing from 4 on. Here it is
    (1 + TV) / 2 with TV ≤ √(1 - H²): H is the Hellinger affinity ∫√(pq) of what all steps show with
    and without the record, the product of theirs. The worst pair of one step are the normal
    distribution and its mixture with the one moved by C (Zhu, Dong & Wang 2022).
    """
    if rate == 1:
        logarithm = -1 / (8 * noise_multiplier**2)
    else:
        logarithm = math.log(min(1.0, _affinity(rate, noise_multiplier)))
    return (1 + math.sqrt(-math.expm1(2 * steps * logarithm))) / 2


def _affinity(rate: float, deviation: float) -> float:
    """∫√(pq) of p = N(0, deviation²) and q, with probability `rate` N(1, deviation²), else p.

    By the trapezoid rule, which is exact to rounding for such curves; what is cut off at 14
    deviations makes the bound larger, never smaller.
    """
    width = deviation / 100
    first = -14 * deviation
    count = math.ceil((1 + 28 * deviation) / width)
    total = 0.0
    for number in range(count + 1):
        place = first + number * width
        density = math.exp(-(place**2) / (2 * deviation**2))
        likelier = math.exp((2 * place - 1) / (2 * deviation**2))
        total += density * math.sqrt(1 - rate + rate * likelier)
    return total * width / (deviation * math.sqrt(2 * math.pi))
