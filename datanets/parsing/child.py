"""The sandbox child: `python -m datanets.parsing.child`, started only by `sandbox.parse_upload`.

It gets one JSON argument and open descriptors, and no path: the upload as standard input, nameless
files for rows, report and scratch space, a pipe for progress. It locks itself in before it reads
the upload, so a file that breaks a parser breaks a process that can do nothing else.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import sys
import time
from typing import IO, Any

from datanets.parsing import confine
from datanets.parsing.result import (
    Limits,
    MappingNeededError,
    Report,
    UploadRejectedError,
    too_large,
    wrong_content,
)

_PROGRESS_EVERY_SECONDS = 0.1
_DIRECTORY_BYTES = 4 << 20


class _Progress:
    """Tells the parent how far we are, a few times a second at most."""

    def __init__(self, pipe: int, upload: IO[bytes], size: int) -> None:
        self._pipe, self._upload, self._size = pipe, upload, max(1, size)
        self._next = 0.0

    def __call__(self, report: Report) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PROGRESS_EVERY_SECONDS
        share = min(1.0, self._upload.tell() / self._size)
        os.write(self._pipe, json.dumps([share, report.rows_read]).encode() + b"\n")


def _peak_memory_bytes(status: IO[bytes]) -> int:
    """VmHWM of this program alone; wait4 counts the parent's memory too, from before exec."""
    status.seek(0)
    for line in status.read().splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _preload(upload: IO[bytes]) -> None:
    """Imports what opening files would be needed for later. Reads 8 bytes and judges nothing."""
    for name in ("utf-8", "cp437", "ascii", "latin-1"):
        codecs.lookup(name)
    start = upload.read(4)
    upload.seek(0)
    if start == b"PAR1" or start[:2] == b"PK":
        import pyarrow.parquet
        import pyarrow.types  # noqa: F401
    if start == b"%PDF" or (start[:2] == b"PK" and _names_a_pdf(upload)):
        from datanets.parsing import pdf_text

        pdf_text.load()


def _names_a_pdf(upload: IO[bytes]) -> bool:
    """Whether the directory at the end of a zip may name one; loading for nothing costs 0.3 s."""
    size = upload.seek(0, os.SEEK_END)
    upload.seek(max(0, size - _DIRECTORY_BYTES))
    found = b".pdf" in upload.read().lower()
    upload.seek(0)
    return found


def _collect(task: dict[str, Any], upload: IO[bytes], status: IO[bytes]) -> Report:
    from datanets.parsing.collect import Collector

    limits = Limits(**task["limits"])
    rows_out = io.BufferedWriter(io.FileIO(task["rows"], "w", closefd=False))
    scratch = os.fdopen(task["scratch"], "r+b")
    progress = _Progress(task["progress"], upload, os.fstat(0).st_size)
    collector = Collector(limits, rows_out, scratch, task["mapping"], progress)
    _preload(upload)
    held = task["held"] + confine.lock(task["parent"])
    if not any("network" in name or name == "seccomp" for name in held):
        os._exit(confine.EXIT_NO_SANDBOX)
    report = collector.report
    report.confinement = held
    try:
        collector.collect(upload, task["filename"])
        rows_out.flush()
    except UploadRejectedError as refused:
        report.rejection = refused.rejection
    except MappingNeededError as wanted:
        report.needs_mapping = wanted.needs_mapping
    except MemoryError:
        report.rejection = _memory(limits).rejection
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            os._exit(confine.EXIT_DISK_FULL)
        raise
    except RecursionError:
        report.rejection = _recursion().rejection
    report.peak_memory_bytes = _peak_memory_bytes(status)
    return report


def _printable(value: Any) -> Any:
    """The same report with "?" for characters that no page or database can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8").replace("\x00", "?")
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


def _memory(limits: Limits) -> UploadRejectedError:
    limit = f"{limits.memory_bytes:,} bytes of memory"
    return too_large(
        "needs_too_much_memory",
        f"Reading the file needs more than {limit}; a small part of it unfolds to a huge one.",
        where="the content",
        limit=limit,
        remedy="Write it with smaller cells, or as csv or jsonl.",
    )


def _recursion() -> UploadRejectedError:
    return wrong_content(
        "nested_too_deep",
        "The content is nested too deep to be read.",
        where="the content",
        remedy="Send flat rows.",
    )


def main() -> None:
    task = json.loads(sys.argv[1])
    confine.die_with_parent(task["parent"])
    # Our working folder is empty and gone from here on, even if the parent is killed later.
    os.rmdir(os.getcwd())
    confine.limit_resources(Limits(**task["limits"]))
    task["held"] = ["resource limits", *confine.leave_network()]
    with open("/proc/self/status", "rb", buffering=0) as status, os.fdopen(0, "rb") as upload:
        report = _collect(task, upload, status)
        data = json.dumps(_printable(report.as_json())).encode()
        with os.fdopen(task["report"], "wb", closefd=False) as report_out:
            report_out.write(data)
    # No clean-up code of libraries runs after a hostile file: everything is written.
    os._exit(0)


if __name__ == "__main__":
    main()
