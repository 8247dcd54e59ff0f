"""The books, what was earned, what the chain said and what we told it, and the payouts."""

from __future__ import annotations

from rewards.models.appeals import SlashAppeal
from rewards.models.assets import Asset, AssetTransfer
from rewards.models.chain import (
    Anchor,
    ChainCursor,
    ChainTransaction,
    Claim,
    ContractReading,
    Deposit,
)
from rewards.models.closings import DailyClosing
from rewards.models.governance import (
    CuratorDecision,
    GovernanceReading,
    ParameterChange,
    Proposal,
    VotingPower,
)
from rewards.models.ledger import Account, Entry, Hold, Transaction
from rewards.models.payouts import Epoch, EpochPayout, PayoutFreeze, ReconcileRun
from rewards.models.refunds import RefundRequest
from rewards.models.relays import Relay
from rewards.models.reputation import Reputation, ReputationIssue
from rewards.models.settlements import EarningLine, Settlement, SplitParameters
from rewards.models.signed_payments import SignedPayment
from rewards.models.staking import (
    EscrowWithdrawal,
    IncomePayment,
    IncomeRound,
    SlashCase,
    StakeEvent,
    StakePosition,
    StakerShare,
    StakeTarget,
    StakeUnbonding,
    StakingReading,
)
from rewards.models.vesting import VestingEvent, VestingGrant
from rewards.models.withdrawals import Withdrawal

__all__ = [
    "Account",
    "Anchor",
    "Asset",
    "AssetTransfer",
    "ChainCursor",
    "ChainTransaction",
    "Claim",
    "ContractReading",
    "CuratorDecision",
    "DailyClosing",
    "Deposit",
    "EarningLine",
    "Entry",
    "Epoch",
    "EpochPayout",
    "EscrowWithdrawal",
    "GovernanceReading",
    "Hold",
    "IncomePayment",
    "IncomeRound",
    "ParameterChange",
    "PayoutFreeze",
    "Proposal",
    "ReconcileRun",
    "RefundRequest",
    "Relay",
    "Reputation",
    "ReputationIssue",
    "Settlement",
    "SignedPayment",
    "SlashAppeal",
    "SlashCase",
    "SplitParameters",
    "StakeEvent",
    "StakePosition",
    "StakeTarget",
    "StakeUnbonding",
    "StakerShare",
    "StakingReading",
    "Transaction",
    "VestingEvent",
    "VestingGrant",
    "VotingPower",
    "Withdrawal",
]
