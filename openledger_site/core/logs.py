"""Log lines: time, level, request id, message. Nothing that a person wrote belongs in one."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from typing import Any

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="-")

# PostgreSQL's refusals repeat the row, from here to the end of the message.
_ROW_IN_REFUSAL = re.compile(
    r"\n(DETAIL|CONTEXT):.*?(?=\n\n(?:The above exception was the direct cause of"
    r"|During handling of the above exception)|\Z)",
    re.DOTALL,
)

# The same where somebody logs an exception's repr, as Celery does of a task that failed.
_REPR_IN_MESSAGE = re.compile(r"\\n(DETAIL|CONTEXT):.*?(?=['\"]\)|$)", re.MULTILINE)


class LineFormatter(logging.Formatter):
    """One line an event, with the id of the request or job that it belongs to."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(request_id)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.request_id = current_request_id.get()
        return _REPR_IN_MESSAGE.sub(r"\\n\1: left out", super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 # logging calls it so
        """The trace, with what PostgreSQL refused named by its constraint alone."""
        return _ROW_IN_REFUSAL.sub(r"\n\1: left out", super().formatException(ei))
