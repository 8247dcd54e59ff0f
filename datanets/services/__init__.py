"""Writes: each a verb and a transaction."""

from __future__ import annotations

from datanets.services.cut_version import cut_version, inclusion_proof
from datanets.services.decide_contribution import Choice, decide_contribution
from datanets.services.errors import (
    AlreadyDecided,
    NothingToCut,
    OwnRows,
    UploadRejected,
    UploadTooLarge,
)
from datanets.services.follow_withdrawal import register_withdrawal_follower
from datanets.services.manage_datanet import (
    create_datanet,
    decide_grant,
    remove_member,
    request_access,
    set_member,
)
from datanets.services.review_records import Decision, review_all, review_record, undo_review
from datanets.services.submit_contribution import (
    Upload,
    choose_mapping,
    parse_contribution,
    refuse_oversized,
    submit_contribution,
    withdraw_contribution,
)

__all__ = [
    "AlreadyDecided",
    "Choice",
    "Decision",
    "NothingToCut",
    "OwnRows",
    "Upload",
    "UploadRejected",
    "UploadTooLarge",
    "choose_mapping",
    "create_datanet",
    "cut_version",
    "decide_contribution",
    "decide_grant",
    "inclusion_proof",
    "parse_contribution",
    "refuse_oversized",
    "register_withdrawal_follower",
    "remove_member",
    "request_access",
    "review_all",
    "review_record",
    "set_member",
    "submit_contribution",
    "undo_review",
    "withdraw_contribution",
]
