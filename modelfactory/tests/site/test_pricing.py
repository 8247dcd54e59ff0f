"""The fee formula: integers, one rounding, never below the exact price."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfactory.services import fee_wei

# A busy machine is slow to draw numbers; that says nothing about the formula.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("busy")

tokens = st.integers(0, 10**9)
wei = st.integers(0, 2**96)


@given(tokens, tokens, wei, wei, wei)
def test_a_fee_is_the_formula_rounded_up_to_the_wei(
    prompt: int, completion: int, read: int, write: int, platform: int
) -> None:
    fee = fee_wei(
        prompt_tokens=prompt,
        completion_tokens=completion,
        price_prompt_wei=read,
        price_completion_wei=write,
        platform_fee_wei=platform,
    )
    exact = Fraction(prompt * read, 1000) + Fraction(completion * write, 1000) + platform
    assert isinstance(fee, int)
    assert 0 <= fee - exact < 1


@given(tokens, tokens, wei, wei, wei)
def test_more_tokens_never_cost_less(
    prompt: int, completion: int, read: int, write: int, platform: int
) -> None:
    prices = {
        "price_prompt_wei": read,
        "price_completion_wei": write,
        "platform_fee_wei": platform,
    }
    less = fee_wei(prompt_tokens=prompt, completion_tokens=completion, **prices)
    more = fee_wei(prompt_tokens=prompt + 1, completion_tokens=completion + 1, **prices)
    assert more >= less


def test_a_thousandth_of_a_token_price_is_still_a_whole_wei() -> None:
    prices = {"price_prompt_wei": 1, "price_completion_wei": 0, "platform_fee_wei": 0}
    assert fee_wei(prompt_tokens=1, completion_tokens=0, **prices) == 1


@pytest.mark.parametrize("bad", ["prompt_tokens", "price_prompt_wei", "platform_fee_wei"])
def test_negative_numbers_are_refused(bad: str) -> None:
    numbers = {
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "price_prompt_wei": 1,
        "price_completion_wei": 1,
        "platform_fee_wei": 1,
    }
    with pytest.raises(ValueError, match="negative"):
        fee_wei(**numbers | {bad: -1})
