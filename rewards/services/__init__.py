"""What other apps may do with money; see docs/architecture.md."""

from __future__ import annotations

from rewards.selectors import earnings_summary, spendable_wei
from rewards.services.anchors import anchor_root
from rewards.services.batches import post_many, raise_refusals
from rewards.services.deposits import credit_unassigned, watch_chain
from rewards.services.epochs import advance_epochs, close_epoch
from rewards.services.governance import carry_out_decisions, register_curator_appointment
from rewards.services.governance_readings import read_governance
from rewards.services.ledger import (
    HoldResolved,
    InsufficientFunds,
    Posting,
    PostingDiffers,
    expire_holds,
    place_hold,
    post,
    void_hold,
)
from rewards.services.parameters import split_parameters
from rewards.services.reconcile import Report, reconcile, register_reconcile_check
from rewards.services.sender import send_transactions
from rewards.services.settlements import (
    RefundTooLate,
    refund_answer,
    release_earnings,
    settle_answer,
    split_fee,
)

__all__ = [
    "HoldResolved",
    "InsufficientFunds",
    "Posting",
    "PostingDiffers",
    "RefundTooLate",
    "Report",
    "advance_epochs",
    "anchor_root",
    "carry_out_decisions",
    "close_epoch",
    "credit_unassigned",
    "earnings_summary",
    "expire_holds",
    "place_hold",
    "post",
    "post_many",
    "raise_refusals",
    "read_governance",
    "reconcile",
    "refund_answer",
    "register_curator_appointment",
    "register_reconcile_check",
    "release_earnings",
    "send_transactions",
    "settle_answer",
    "spendable_wei",
    "split_fee",
    "split_parameters",
    "void_hold",
    "watch_chain",
]
