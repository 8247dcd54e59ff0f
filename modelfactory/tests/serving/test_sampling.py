from __future__ import annotations

import pytest
import torch

from modelfactory.serving.sampling import make_generator, next_token

LOGITS = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))


def draw(count: int, **options) -> list[int]:
    generator = make_generator(1)
    settings = {"temperature": 1.0, "top_p": 1.0, **options}
    return [next_token(LOGITS, generator=generator, **settings) for _ in range(count)]


def test_temperature_zero_takes_the_largest():
    assert set(draw(20, temperature=0)) == {0}


def test_draws_follow_the_probabilities():
    drawn = draw(4000)
    assert drawn.count(0) / 4000 == pytest.approx(0.5, abs=0.04)
    assert drawn.count(3) / 4000 == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2})])
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p, kept):
    assert set(draw(500, top_p=top_p)) == kept


def test_a_lower_temperature_is_more_certain():
    assert draw(1000, temperature=0.3).count(0) > draw(1000).count(0) + 200


def test_a_seed_repeats_the_draws():
    assert draw(30) == draw(30)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_give_no_token(bad):
    logits = torch.tensor([0.0, bad])
    assert next_token(logits, temperature=0, top_p=1, generator=make_generator(0)) is None
