"""Wei: whole numbers end to end, `NUMERIC(78, 0)` in the database and `int` in Python."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

WEI_PER_OPEN = 10**18
WEI_MAX = 2**256 - 1  # what an EVM word holds; 78 decimal digits


class WeiField(models.DecimalField[Any, Any]):
    """A whole number of wei. Reads back as `int`; floats and fractions are refused."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_digits"], kwargs["decimal_places"] = 78, 0
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_digits"], kwargs["decimal_places"]
        return name, path, args, kwargs

    def from_db_value(self, value: Decimal | None, expression: Any, connection: Any) -> int | None:
        return None if value is None else int(value)

    def to_python(self, value: Any) -> int | None:
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) <= 79:
            return int(value)
        if (
            isinstance(value, Decimal)
            and abs(value) <= WEI_MAX
            and value == value.to_integral_value()
        ):
            return int(value)
        raise ValidationError("%(value)s is not a whole number of wei.", params={"value": value})

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, float):
            raise TypeError("Money is counted in whole wei; a float was given.")
        return Decimal(value) if isinstance(value, int) else value

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if hasattr(value, "as_sql"):
            return value
        return self.get_db_prep_value(self.to_python(value), connection)


def split_wei(amount_wei: int, weights: Sequence[int]) -> list[int]:
    """Split `amount_wei` in proportion to integer `weights`; the parts sum to it exactly.

    Largest-remainder (Hamilton) method. Equal remainders go to the earlier place in `weights`, so
    callers pass them in an order that everybody can recompute (by id). All weights zero: the
    parts are all zero and the caller decides where the money goes.
    """
    if amount_wei < 0 or any(weight < 0 for weight in weights):
        raise ValueError("Amounts and weights cannot be negative.")
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    parts = [amount_wei * weight // total for weight in weights]
    remainders = [amount_wei * weight % total for weight in weights]
    missing = amount_wei - sum(parts)
    for place in sorted(range(len(weights)), key=lambda i: (-remainders[i], i))[:missing]:
        parts[place] += 1
    return parts


def format_open(amount_wei: int, digits: int = 4, *, aligned: bool = False) -> str:
    """`4200000000000000` → `"0.0042"`: OPEN rounded down to `digits` significant decimals.

    `aligned` always writes all of them.
    Never shows a non-zero amount as zero: below the last digit it says `"<0.0001"`.
    """
    sign, amount = ("-", -amount_wei) if amount_wei < 0 else ("", amount_wei)
    whole, fraction = divmod(amount, WEI_PER_OPEN)
    decimals = f"{fraction:018d}"[:digits]
    if amount and not whole and not decimals.strip("0"):
        return f"{sign}<0.{'0' * (digits - 1)}1"
    shown = decimals if aligned else decimals.rstrip("0")
    return f"{sign}{whole:,}" + (f".{shown}" if shown else "")


def exact_open(amount_wei: int) -> str:
    """As `parse_open` reads it back: all decimals, no separators, no rounding."""
    whole, fraction = divmod(amount_wei, WEI_PER_OPEN)
    decimals = f"{fraction:018d}".rstrip("0")
    return f"{whole}.{decimals}" if decimals else str(whole)


def parse_open(text: str) -> int:
    """`"0.0042"` → wei. Raises `ValueError` for anything but a plain decimal of ≤18 places."""
    whole, _, fraction = text.strip().partition(".")
    if (
        not (whole or "0").isdecimal()
        or not (fraction or "0").isdecimal()
        or not (whole or fraction)
    ):
        raise ValueError("Write an amount of OPEN such as 12 or 0.5.")
    if len(fraction) > 18 or len(whole) > 60 or not text.isascii():
        raise ValueError("OPEN has at most 18 decimals.")
    return int(whole or "0") * WEI_PER_OPEN + int((fraction or "0").ljust(18, "0"))
