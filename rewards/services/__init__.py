"""What other apps may do with money; see docs/architecture.md."""

from __future__ import annotations

from rewards.selectors import earnings_summary, spendable_wei
from rewards.selectors.anchors import AnchorNames, register_anchor_names
from rewards.selectors.assets import income_owner
from rewards.selectors.parameters import split_parameters
from rewards.selectors.reputation import register_review_evidence
from rewards.selectors.stakes import has_stakers
from rewards.selectors.subjects import register_stake_subject
from rewards.services.anchors import anchor_root
from rewards.services.appeals import appeal_slash
from rewards.services.assets import register_asset
from rewards.services.batches import post_many, raise_refusals
from rewards.services.chain import ContractsMissing
from rewards.services.closings import close_books
from rewards.services.contract_readings import read_contracts
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
from rewards.services.reconcile import Report, reconcile, register_reconcile_check
from rewards.services.refunds import ask_refund, decide_refund
from rewards.services.relay_checks import is_relay_offered
from rewards.services.relay_settlement import settle_relays
from rewards.services.relays import quote_relay, relay
from rewards.services.reputation import issue_reputation, measure_reputations, take_back_reputations
from rewards.services.sender import send_transactions
from rewards.services.settlements import (
    MakerPart,
    RefundTooLate,
    refund_answer,
    refund_window_ends,
    release_earnings,
    settle_answer,
    split_fee,
)
from rewards.services.signed_payments import (
    PaymentFailed,
    PaymentRefused,
    PaymentTerms,
    PaymentUsed,
    check_signature,
    check_terms,
    check_transfer,
    check_unused,
    cover_payment,
    is_certain,
    payment_by,
    payment_terms,
    take_payment,
)
from rewards.services.slashes import (
    advance_slashes,
    carry_out_overturned,
    decide_slash,
    overturn_slash,
)
from rewards.services.stake_income import advance_income, pay_stakers, plan_income_round
from rewards.services.stakes import name_target
from rewards.services.vesting import release_grant
from rewards.services.withdrawals import ask_withdrawal, cancel_withdrawal
from rewards.services.withdrawals import return_refused as return_refused_withdrawals

__all__ = [
    "AnchorNames",
    "ContractsMissing",
    "HoldResolved",
    "InsufficientFunds",
    "MakerPart",
    "PaymentFailed",
    "PaymentRefused",
    "PaymentTerms",
    "PaymentUsed",
    "Posting",
    "PostingDiffers",
    "RefundTooLate",
    "Report",
    "advance_epochs",
    "advance_income",
    "advance_slashes",
    "anchor_root",
    "appeal_slash",
    "ask_refund",
    "ask_withdrawal",
    "cancel_withdrawal",
    "carry_out_decisions",
    "carry_out_overturned",
    "check_signature",
    "check_terms",
    "check_transfer",
    "check_unused",
    "close_books",
    "close_epoch",
    "cover_payment",
    "credit_unassigned",
    "decide_refund",
    "decide_slash",
    "earnings_summary",
    "expire_holds",
    "has_stakers",
    "income_owner",
    "is_certain",
    "is_relay_offered",
    "issue_reputation",
    "measure_reputations",
    "name_target",
    "overturn_slash",
    "pay_stakers",
    "payment_by",
    "payment_terms",
    "place_hold",
    "plan_income_round",
    "post",
    "post_many",
    "quote_relay",
    "raise_refusals",
    "read_contracts",
    "read_governance",
    "reconcile",
    "refund_answer",
    "refund_window_ends",
    "register_anchor_names",
    "register_asset",
    "register_curator_appointment",
    "register_reconcile_check",
    "register_review_evidence",
    "register_stake_subject",
    "relay",
    "release_earnings",
    "release_grant",
    "return_refused_withdrawals",
    "send_transactions",
    "settle_answer",
    "settle_relays",
    "spendable_wei",
    "split_fee",
    "split_parameters",
    "take_back_reputations",
    "take_payment",
    "void_hold",
    "watch_chain",
]
