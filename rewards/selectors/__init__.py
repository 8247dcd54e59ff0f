"""Reads: `money` is the books, `governance` and `stakes` are the chain. Strangers get 404."""

from __future__ import annotations

from rewards.selectors.money import (
    Balance,
    ClaimArguments,
    EarningsSummary,
    balance_of,
    claims_of,
    claims_open_for,
    deposits_of,
    earning_lines_of,
    earnings_summary,
    epoch_by,
    epoch_transactions,
    epochs,
    last_reconcile,
    leaf_file_of,
    payout_freeze,
    payout_tree,
    spendable_wei,
    statement_of,
    statement_rows,
    wallet_addresses_of,
)

__all__ = [
    "Balance",
    "ClaimArguments",
    "EarningsSummary",
    "balance_of",
    "claims_of",
    "claims_open_for",
    "deposits_of",
    "earning_lines_of",
    "earnings_summary",
    "epoch_by",
    "epoch_transactions",
    "epochs",
    "last_reconcile",
    "leaf_file_of",
    "payout_freeze",
    "payout_tree",
    "spendable_wei",
    "statement_of",
    "statement_rows",
    "wallet_addresses_of",
]
