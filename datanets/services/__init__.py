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
from datanets.services.edit_card import SAMPLES_MAX, edit_card, mark_sample
from datanets.services.errors import (
    AllHeldOut,
    AlreadyDecided,
    ChecksumMismatch,
    NothingToCut,
    OwnRows,
    OwnStake,
    TooManyRows,
    UploadBusy,
    UploadRejected,
    UploadTooLarge,
    WaitsForCurator,
    WrongOffset,
)
from datanets.services.expire_undecided import expire_undecided
from datanets.services.follow_withdrawal import register_withdrawal_follower
from datanets.services.kept_files import (
    FileUnreadable,
    rename_sealed_files,
    rotate_data_keys,
    seal_plain_files,
)
from datanets.services.limit_rows import refuse_unkept
from datanets.services.look_again import ask_to_look_again, decide_second_look
from datanets.services.mail_about_grant import mail_about_grant
from datanets.services.manage_datanet import create_datanet, set_access_questions, set_review_rules
from datanets.services.manage_members import (
    change_role,
    remove_member,
    set_member,
    transfer_ownership,
)
from datanets.services.note_reading import note_reading, note_training
from datanets.services.receive_upload import (
    append_part,
    begin_upload,
    discard_upload,
    expire_uploads,
    offset_of,
    take_upload,
)
from datanets.services.remind_undecided import mail_about_undecided, remind_undecided
from datanets.services.review_records import Decision, review_all, review_record, undo_review
from datanets.services.seal_rows import open_sealed_rows, seal_plain_rows
from datanets.services.submit_contribution import (
    Upload,
    choose_mapping,
    parse_contribution,
    refuse_oversized,
    submit_contribution,
    withdraw_contribution,
)

__all__ = [
    "SAMPLES_MAX",
    "AllHeldOut",
    "AlreadyDecided",
    "AnsweredBefore",
    "ChecksumMismatch",
    "Choice",
    "Decision",
    "FileUnreadable",
    "NothingToCut",
    "OwnRows",
    "OwnStake",
    "TooManyRows",
    "Upload",
    "UploadBusy",
    "UploadRejected",
    "UploadTooLarge",
    "WaitsForCurator",
    "WrongOffset",
    "answer_gold",
    "appeal_rejection",
    "append_part",
    "ask_to_look_again",
    "begin_upload",
    "change_role",
    "choose_mapping",
    "create_datanet",
    "cut_version",
    "decide_contribution",
    "decide_grant",
    "decide_second_look",
    "discard_upload",
    "edit_card",
    "expire_undecided",
    "expire_uploads",
    "inclusion_proof",
    "mail_about_grant",
    "mail_about_undecided",
    "make_gold",
    "mark_sample",
    "note_reading",
    "note_training",
    "offset_of",
    "open_sealed_rows",
    "parse_contribution",
    "refuse_oversized",
    "refuse_unkept",
    "register_withdrawal_follower",
    "remind_undecided",
    "remove_member",
    "rename_sealed_files",
    "request_access",
    "retire_gold",
    "review_all",
    "review_record",
    "revoke_grant",
    "rotate_data_keys",
    "seal_plain_files",
    "seal_plain_rows",
    "set_access_questions",
    "set_member",
    "set_review_rules",
    "submit_contribution",
    "take_upload",
    "transfer_ownership",
    "undo_review",
    "withdraw_contribution",
    "withdraw_request",
]
