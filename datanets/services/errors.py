"""Refusals of this app, named after the fact."""

from __future__ import annotations

from datanets.parsing import Rejection
from openledger_site.core.errors import Conflict, DomainError, NotAllowed


class UploadRejected(DomainError):
    """The sandbox refused the file; status, place, limit and remedy come from it."""

    code = "upload_rejected"

    def __init__(self, rejection: Rejection) -> None:
        message = f"{rejection.message} {rejection.remedy}".strip()
        super().__init__(
            message, where=rejection.where, limit=rejection.limit or None, code=rejection.code
        )
        self.status = rejection.status


class UploadTooLarge(DomainError):
    status = 413
    code = "file_too_large"


class WrongOffset(Conflict):
    """`offset_bytes` is where the next part has to start."""

    code = "wrong_offset"

    def __init__(self, offset_bytes: int) -> None:
        self.offset_bytes = offset_bytes
        super().__init__(
            f"The server holds {offset_bytes:,} bytes. Go on from there.",
            where="Upload-Offset",
            limit=offset_bytes,
        )


class UploadBusy(DomainError):
    """The last part, perhaps of a connection that broke, is still being written."""

    status = 423
    code = "upload_busy"
    message = "Another part of this file is being written. Ask for the offset in a second."


class ChecksumMismatch(DomainError):
    """The number is tus's own."""

    status = 460
    code = "checksum_mismatch"


class OutOfDisk(DomainError):
    status = 507
    code = "disk_full"
    message = "The server is short of disk space. Try again later."


class OwnRows(NotAllowed):
    code = "own_rows"
    message = "Nobody reviews their own rows: another curator has to decide."


class OwnStake(NotAllowed):
    code = "own_stake"
    message = "You have stake behind these rows: somebody without money on them has to decide."


class AlreadyDecided(Conflict):
    code = "already_decided"
    message = "Somebody decided this row a moment ago. Skip it to see the next one."


class WaitsForCurator(Conflict):
    code = "waits_for_curator"
    message = (
        "This row waits for a curator: the votes are tied, or somebody was unsure."
        " Skip it to see the next one."
    )


class NobodyKeepsIt(Conflict):
    code = "owner_has_left"
    message = (
        "Whoever kept this Datanet has closed their account, so nobody would review your rows."
        " Make a Datanet of your own, or ask the operator for this one."
    )


class TooManyRows(DomainError):
    status = 429
    code = "too_many_rows"


class NothingToCut(DomainError):
    code = "nothing_approved"
    message = "A version needs at least one approved row to train on. Review the queue first."


class AllHeldOut(DomainError):
    code = "all_held_out"

    def __init__(self, rows: int) -> None:
        super().__init__(
            f"All approved rows ({rows}) would be held out, and none left to train on."
            " Hold out fewer percent, or approve more rows first.",
            where="held_out_percent",
        )
