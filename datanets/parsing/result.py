"""What the sandbox takes and gives: limits in, rows and reasons out. Plain data, no Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["instruction", "chat", "preference", "text"]
Status = Literal["accepted", "needs_mapping", "rejected"]

TOO_LARGE = 413
WRONG_TYPE = 415
WRONG_CONTENT = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The published limits. Sizes are bytes actually read or unpacked, never a header's claim."""

    file_bytes: int = 512 * 1024**2
    unpacked_bytes: int = 2 * 1024**3
    output_bytes: int = 2 * 1024**3
    rows: int = 1_000_000
    columns: int = 4_096
    line_bytes: int = 1_000_000
    """One line, one CSV record over several lines, or one JSON value."""
    cell_characters: int = 256 * 1024
    wordings: int = 64
    nesting_levels: int = 64
    number_characters: int = 100
    chunk_characters: int = 2_000
    """Longest piece that plain text is cut into."""
    archive_entries: int = 10_000
    archive_ratio: int = 100
    archive_ratio_floor_bytes: int = 1024**2
    """Entries that unpack to less than this may have any ratio: they cannot hurt."""
    parquet_row_groups: int = 10_000
    parquet_footer_bytes: int = 16 * 1024**2
    pdf_pages: int = 10_000
    bad_rows_listed: int = 1_000
    memory_bytes: int = 1_000_000_000
    cpu_seconds: int = 120
    wall_seconds: float = 180.0
    open_files: int = 64


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row in the normal form. Which fields are filled depends on `kind`:

    instruction: instruction, response · preference: instruction, response (chosen), rejected ·
    chat: messages · text: text. `number` counts rows of one file from 1; `entry` names the file
    inside a zip and is empty otherwise.
    """

    kind: Kind
    number: int
    entry: str = ""
    instruction: str = ""
    response: str = ""
    rejected: str = ""
    messages: tuple[Message, ...] = ()
    text: str = ""
    extra_wordings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that was left out, and what its owner can do about it."""

    row: int
    column: str
    cause: str
    remedy: str
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the whole file was refused, in words for the person who sent it."""

    status: int
    """HTTP status: 413 a limit was passed, 415 not a type we read, 422 broken content."""
    code: str
    message: str
    where: str
    limit: str
    remedy: str

    def as_error(self) -> dict[str, dict[str, str]]:
        """The site's error envelope."""
        body = {key: value for key, value in asdict(self).items() if key != "status"}
        return {"error": body}


@dataclass(frozen=True, slots=True)
class NeedsMapping:
    """The columns were readable but not recognised; the sender must say what they are."""

    columns: tuple[str, ...]
    sample: tuple[Mapping[str, str], ...]
    """Up to three rows, each value cut to 200 characters; escape before showing."""
    entry: str = ""


@dataclass(slots=True)
class Report:
    """What the child knows at its end; the parent adds the rows and the measurements."""

    format: str = ""
    format_found_by: str = ""
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    ignored_columns: list[str] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)
    rejection: Rejection | None = None
    needs_mapping: NeedsMapping | None = None
    confinement: list[str] = field(default_factory=list)
    unpacked_bytes: int = 0
    output_bytes: int = 0
    peak_memory_bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Report:
        """Rebuild from the child's JSON. Raises KeyError, TypeError or ValueError if it lies."""
        rejection, mapping = data.pop("rejection"), data.pop("needs_mapping")
        bad_rows = [BadRow(**bad) for bad in data.pop("bad_rows")]
        report = cls(**data, bad_rows=bad_rows)
        report.rejection = Rejection(**rejection) if rejection else None
        if mapping:
            report.needs_mapping = NeedsMapping(
                tuple(mapping["columns"]), tuple(mapping["sample"]), mapping["entry"]
            )
        return report


class UploadRejectedError(Exception):
    """Raised inside the child to refuse the whole file."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class MappingNeededError(Exception):
    """Raised inside the child when the columns of a file are not recognised."""

    def __init__(self, needs_mapping: NeedsMapping) -> None:
        super().__init__(", ".join(needs_mapping.columns))
        self.needs_mapping = needs_mapping


class BadValueError(Exception):
    """Raised inside the child when one row cannot be used; the file goes on."""

    def __init__(self, column: str, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.column, self.cause, self.remedy = column, cause, remedy


def too_large(
    code: str, message: str, *, where: str, limit: str, remedy: str
) -> UploadRejectedError:
    return UploadRejectedError(Rejection(TOO_LARGE, code, message, where, limit, remedy))


def wrong_type(
    code: str, message: str, *, where: str = "the file", remedy: str
) -> UploadRejectedError:
    return UploadRejectedError(Rejection(WRONG_TYPE, code, message, where, "", remedy))


def wrong_content(
    code: str, message: str, *, where: str, remedy: str, limit: str = ""
) -> UploadRejectedError:
    return UploadRejectedError(Rejection(WRONG_CONTENT, code, message, where, limit, remedy))
