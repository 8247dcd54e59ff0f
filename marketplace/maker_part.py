"""What the maker of an agent asks on top of its model's price, in parts per million of it."""

from __future__ import annotations

from rewards.models.settlements import PARTS_PER_MILLION

MAKER_PPM_MAX = PARTS_PER_MILLION
"""At most as much again as the model costs."""


def with_maker_part(fee_wei: int, maker_ppm: int) -> int:
    """What is paid for an answer whose model costs `fee_wei`: the part is rounded down."""
    return fee_wei + fee_wei * maker_ppm // PARTS_PER_MILLION


def fee_within(paid_wei: int, maker_ppm: int) -> int:
    """The highest fee of a model with which at most `paid_wei` is paid; exact to the wei.

    `with_maker_part` turned round: it rises with every wei, so of what it gave, this finds the fee
    again, and the difference is the maker's.
    """
    return -(-(paid_wei + 1) * PARTS_PER_MILLION // (PARTS_PER_MILLION + maker_ppm)) - 1
