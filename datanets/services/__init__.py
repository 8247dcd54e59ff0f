"""Writes: each a verb and a transaction."""

from __future__ import annotations

from datanets.services.answer_gold import answer_gold, make_gold, retire_gold
from datanets.services.appeal_rejection import appeal_rejection
from datanets.services.cut_version import cut_version, inclusion_proof
from datanets.services.decide_access import (
    AnsweredBefore,
    decide_grant,
    request_access,
    revoke_grant,
    withdraw_request,
)
from datanets.services.decide_contribution import Choice, decide_contribution
from datanets.services.errors import (
    AlreadyDecided,
    NothingToCut,
    OwnRows,
    TooManyRows,
    UploadRejected,
    UploadTooLarge,
    WaitsForCurator,
)
from datanets.services.follow_withdrawal import register_withdrawal_follower
from datanets.services.look_again import ask_to_look_again, decide_second_look
from datanets.services.mail_about_grant import mail_about_grant
from datanets.services.manage_datanet import create_datanet, set_access_questions, set_review_rules
from datanets.services.manage_members import (
    change_role,
    remove_member,
    set_member,
    transfer_ownership,
)
from datanets.services.note_reading import note_reading
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
    "AnsweredBefore",
    "Choice",
    "Decision",
    "NothingToCut",
    "OwnRows",
    "TooManyRows",
    "Upload",
    "UploadRejected",
    "UploadTooLarge",
    "WaitsForCurator",
    "answer_gold",
    "appeal_rejection",
    "ask_to_look_again",
    "change_role",
    "choose_mapping",
    "create_datanet",
    "cut_version",
    "decide_contribution",
    "decide_grant",
    "decide_second_look",
    "inclusion_proof",
    "mail_about_grant",
    "make_gold",
    "note_reading",
    "parse_contribution",
    "refuse_oversized",
    "register_withdrawal_follower",
    "remove_member",
    "request_access",
    "retire_gold",
    "review_all",
    "review_record",
    "revoke_grant",
    "set_access_questions",
    "set_member",
    "set_review_rules",
    "submit_contribution",
    "transfer_ownership",
    "undo_review",
    "withdraw_contribution",
    "withdraw_request",
]
