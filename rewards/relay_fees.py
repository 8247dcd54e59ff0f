"""What a transaction costs in OPEN. Whole numbers; ETH and OPEN both have 18 decimals.

A fee is quoted at the most that the transaction can cost, by a gas limit and a gas price that are
never exceeded, and settled at what it did cost. So whoever pays the gas is paid back in full.
"""

from __future__ import annotations

from dataclasses import dataclass

from rewards.chain.transactions import Fees

# Room for the price to rise between the quote and the block; what is not used is not paid.
PRICE_MARGIN_PERCENT = 25


@dataclass(frozen=True)
class FeeTerms:
    """`max_fee_per_gas_wei` is in wei of ETH, `open_per_eth` says how many OPEN one ETH is."""

    gas_limit: int
    max_fee_per_gas_wei: int
    open_per_eth: int

    @property
    def most_wei(self) -> int:
        """The most that it can cost, in wei of OPEN."""
        return self.cost_wei(self.gas_limit, self.max_fee_per_gas_wei)

    def cost_wei(self, gas_used: int, gas_price_wei: int) -> int:
        """What this gas at this price costs, in wei of OPEN. Exact: there is nothing to round."""
        return gas_used * gas_price_wei * self.open_per_eth


def terms_for(gas_limit: int, market: Fees, open_per_eth: int) -> FeeTerms:
    """Terms by which a transaction is mined soon, also when the price rises a little."""
    highest = market.max_fee_per_gas_wei * (100 + PRICE_MARGIN_PERCENT) // 100
    return FeeTerms(gas_limit, max(1, highest), open_per_eth)
