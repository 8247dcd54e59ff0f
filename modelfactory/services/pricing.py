"""What an answer costs: integers in, integers out."""

from __future__ import annotations

from modelfactory.models import Model

TOKENS_PER_PRICE = 1000
SHORT_ANSWER = (100, 50)  # tokens read and written; 50 are about 35 words


def fee_wei(
    *,
    prompt_tokens: int,
    completion_tokens: int,
    price_prompt_wei: int,
    price_completion_wei: int,
    platform_fee_wei: int,
) -> int:
    """`F = in/1000 · R_in + out/1000 · R_out + platform` in wei, rounded up once, at the end.

    `R_in` and `R_out` are wei per 1,000 tokens. Raises `ValueError` for a negative number.
    """
    if min(prompt_tokens, completion_tokens) < 0:
        raise ValueError("Token counts cannot be negative.")
    if min(price_prompt_wei, price_completion_wei, platform_fee_wei) < 0:
        raise ValueError("Prices cannot be negative.")
    metered = prompt_tokens * price_prompt_wei + completion_tokens * price_completion_wei
    return -(-metered // TOKENS_PER_PRICE) + platform_fee_wei


def price_wei(model: Model, prompt_tokens: int, completion_tokens: int) -> int:
    """The fee of one answer by `model`; see `fee_wei` for the formula."""
    return fee_wei(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        price_prompt_wei=model.price_prompt_wei,
        price_completion_wei=model.price_completion_wei,
        platform_fee_wei=model.platform_fee_wei,
    )


def short_answer_wei(model: Model) -> int:
    """The example that pages give of what an answer costs."""
    return price_wei(model, *SHORT_ANSWER)
