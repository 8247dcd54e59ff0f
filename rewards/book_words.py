"""What the checks of the books and their figures mean, in the words of the page."""

from __future__ import annotations

from typing import Any

CHECKS = {
    "I1": "Each transaction sums to zero.",
    "I2": "Each balance is the sum of its entries.",
    "I3": "Nobody's account is below zero.",
    "I4": "All that is owed is in custody on the final chain; each event is booked once.",
    "I5": "No address claimed more than it earned.",
    "I6": "Each hold was posted or voided exactly once.",
    "I7": "Each fee is the sum of its parts.",
    "I8": "Each stakers' part waits, is on its way, or was paid in once.",
    "I9": "The newest closed day stands as it was closed.",
    "I10": "Each withdrawal is set aside to the wei until it is paid, and paid once.",
    "I11": "Each grant that unlocks is on the chain as the books say: whose, how much, when.",
    "I12": "Each network fee paid in OPEN is what its transaction cost.",
}
FIGURES_WEI = {
    "liabilities_wei": "Owed to people",
    "custody_wei": "Held for it, in all",
    "escrow_wei": "of this in deposits",
    "distributor_wei": "of this in payouts",
    "in_transit_wei": "of this on its way to stakers",
    "paid_to_stakers_wei": "Paid to stakers so far",
    "unsolicited_wei": "Sent here without a deposit",
}


def checks_in_words(report: dict[str, Any]) -> list[tuple[str, str, bool | None, int]]:
    """(number, meaning, whether it held, problems found); a check that did not run held `None`."""
    found = report.get("checks", {})
    return [
        (
            name if name in CHECKS else "",
            CHECKS.get(name, f"{name.capitalize()}."),
            check.get("ok"),
            len(check["problems"]),
        )
        for name in CHECKS | found
        for check in [found.get(name, {"problems": []})]
    ]


def figures_in_words(report: dict[str, Any]) -> list[tuple[str, int]]:
    """(meaning, wei) of what the chain was compared with."""
    figures = report.get("figures", {})
    return [(words, figures[name]) for name, words in FIGURES_WEI.items() if name in figures]
