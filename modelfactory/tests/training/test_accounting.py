"""The accountant: published values, a library's values, and noise that keeps what it promises.

The library is Google's dp-accounting 0.6.0, run once in an environment of its own: it needs scipy
and an attrs older than ours.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfactory.training.accounting import (
    ORDERS,
    AccountingError,
    epsilon_spent,
    guessed_right_at_most,
    noise_for,
    renyi,
)

# (rate, noise, steps, δ): ε by the library's RdpAccountant at our orders; by its accountant of the
# whole privacy loss distribution, which is exact but for rounding up; right guesses by the latter.
LIBRARY = [
    (256 / 60_000, 1.3, 3515, 1e-05, 0.95442951, 0.8645, 0.5451),
    (0.01, 1.0, 1000, 1e-05, 2.10775308, 1.8282, 0.5805),
    (0.1, 1.2, 120, 1e-05, 6.18068910, 5.5518, 0.6949),
    (0.1, 0.8, 120, 1e-05, 14.56828603, 11.9785, 0.8014),
    (0.1, 0.65, 60, 1e-05, 15.66163222, 13.6033, 0.7835),
    (0.25, 1.5, 40, 0.0001, 5.83196218, 5.0722, 0.7073),
    (0.5, 1.0, 10, 1e-05, 11.77058267, 10.4599, 0.7841),
    (1.0, 4.0, 20, 1e-05, 5.37772834, 4.9833, 0.7119),
    (0.001, 5.0, 10000, 1e-06, 0.08131275, 0.0736, 0.5041),
]


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta", "renyi_epsilon", "exact", "guessed"), LIBRARY
)
def test_epsilon_is_the_librarys_and_never_below_the_exact_one(
    rate, noise, steps, delta, renyi_epsilon, exact, guessed
):
    found = epsilon_spent(rate, noise, steps, delta)
    assert found == pytest.approx(renyi_epsilon, rel=1e-6)
    assert exact <= found <= 1.25 * exact
    assert guessed <= guessed_right_at_most(rate, noise, steps) <= guessed + 0.07


@pytest.mark.parametrize(
    ("noise", "epochs", "published"), [(1.3, 15, 1.19), (1.1, 60, 3.01), (0.7, 45, 7.10)]
)
def test_the_published_figures_of_mnist_come_out(noise, epochs, published):
    """The table of TensorFlow Privacy's tutorial: 60,000 images, 256 a step, δ = 1e-5, and the
    conversion of Mironov 2017 that it used: log(1/δ) / (order - 1).
    """
    rate, steps = 256 / 60_000, epochs * 60_000 // 256
    found = min(steps * renyi(rate, noise, order) + math.log(1e5) / (order - 1) for order in ORDERS)
    assert found == pytest.approx(published, rel=0.005)  # they also try orders between ours


def test_without_sampling_it_is_the_gaussian_mechanism():
    """Order / 2 noise² (Mironov 2017, corollary 3), which a sampling rate near one joins."""
    assert renyi(1, 2.0, 8) == 1
    assert renyi(1 - 1e-12, 2.0, 8) == pytest.approx(1)


@given(
    epsilon=st.floats(0.5, 30),
    rate=st.floats(0.001, 1),
    steps=st.integers(1, 3_000),
    delta=st.floats(1e-9, 1e-3),
)
@settings(max_examples=12, deadline=None)
def test_the_noise_found_keeps_the_target_and_little_less_would_not(epsilon, rate, steps, delta):
    noise = noise_for(epsilon, delta, rate, steps)
    assert epsilon_spent(rate, noise, steps, delta) <= epsilon
    assert epsilon_spent(rate, noise - 0.002, steps, delta) > epsilon


@given(rate=st.floats(0.001, 0.9), noise=st.floats(0.3, 20), steps=st.integers(1, 2_000))
@settings(max_examples=25, deadline=None)
def test_more_steps_more_rows_and_less_noise_all_cost_more(rate, noise, steps):
    spent = epsilon_spent(rate, noise, steps, 1e-5)
    guessed = guessed_right_at_most(rate, noise, steps)
    for more in ((rate * 1.1, noise, steps), (rate, noise * 0.9, steps), (rate, noise, 2 * steps)):
        assert epsilon_spent(*more, 1e-5) >= spent
        assert guessed_right_at_most(*more) >= guessed
    assert 0.5 <= guessed <= 1


def test_a_target_that_no_noise_keeps_is_refused():
    with pytest.raises(AccountingError):
        noise_for(1e-6, 1e-9, 1.0, 10_000)
