"""A strict reader for zip files, for uploads that may lie about everything.

The standard library's `zipfile` of Python 3.11.7 reads overlapping entries without complaint
(CVE-2024-0450), trusts a moved zip64 directory (CVE-2025-8291) and takes seconds to list a
directory of 200,000 names. This reader takes the end record first, walks the directory once under
limits, proves that no two entries share a byte, and counts real bytes while it unpacks.
Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import IO

from datanets.parsing.result import (
    Limits,
    UploadRejectedError,
    too_large,
    wrong_content,
    wrong_type,
)

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_DIRECTORY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_LONGEST_COMMENT = 65_535
_DIRECTORY_BYTES_PER_ENTRY = 2_048
_READ_BYTES = 64 * 1024
# Direction marks can make a name read as another one on the page.
_DIRECTION_MARKS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive. `name` is for showing only and never becomes a path."""

    name: str
    method: int
    crc: int
    packed_bytes: int
    unpacked_bytes: int
    header_at: int
    data_at: int = 0


def shown(name: str) -> str:
    """A name that is safe to print: no control or direction marks, at most 100 characters."""
    text = "".join(c if c.isprintable() and c not in _DIRECTION_MARKS else "?" for c in name)
    return text if len(text) <= 100 else text[:97] + "…"


def _broken(what: str, where: str = "the zip directory") -> UploadRejectedError:
    return wrong_content(
        "broken_zip",
        f"The zip file cannot be trusted: {what}.",
        where=where,
        remedy="Make the zip again with a common tool and upload it once more.",
    )


def list_entries(file: IO[bytes], limits: Limits) -> list[Entry]:
    """All files of the archive in stored order. Raises UploadRejectedError at the first lie."""
    size = file.seek(0, os.SEEK_END)
    count, directory_bytes, directory_at = _end_record(file, size)
    if count > limits.archive_entries:
        raise too_large(
            "too_many_entries",
            f"The zip holds {count:,} files; at most {limits.archive_entries:,} are read.",
            where="the zip directory",
            limit=f"{limits.archive_entries:,} files",
            remedy="Put the rows into fewer, larger files.",
        )
    if directory_bytes > (count + 1) * _DIRECTORY_BYTES_PER_ENTRY:
        raise _broken("its directory is larger than its number of files allows")
    file.seek(directory_at)
    entries = _directory(file.read(directory_bytes), count)
    entries = [_with_data(file, entry) for entry in entries]
    _refuse_overlap(entries, directory_at)
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _broken("two files have the same name", f'entry "{shown(twice)}"')
    files = [entry for entry in entries if not entry.name.endswith("/")]
    for entry in files:
        _refuse_bomb(entry, limits)
    return files


def _end_record(file: IO[bytes], size: int) -> tuple[int, int, int]:
    """(number of entries, bytes of the directory, its offset), from the end of the file."""
    tail_at = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _broken("its end record is missing, so it was cut short", "the end of the file")
    _, disk, start_disk, here, count, length, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise _broken("there are bytes after its end", "the end of the file")
    if disk or start_disk or here != count:
        raise _broken("it is one part of several", "the end of the file")
    end_at = tail_at + at
    if count == 0xFFFF or length == 0xFFFFFFFF or offset == 0xFFFFFFFF:
        count, length, offset, end_at = _end64_record(file, end_at)
    if offset + length != end_at:
        raise _broken("its directory is not where the end record says", "the end of the file")
    return count, length, offset


def _end64_record(file: IO[bytes], end_at: int) -> tuple[int, int, int, int]:
    locator_at = end_at - _END64_LOCATOR.size
    record_at = locator_at - _END64.size
    if record_at < 0:
        raise _broken("its zip64 record is missing", "the end of the file")
    file.seek(record_at)
    record = _END64.unpack(file.read(_END64.size))
    locator = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
    # The record must stand right before its locator: no room to show two directories.
    if locator[0] != b"PK\x06\x07" or record[0] != b"PK\x06\x06" or locator[2] != record_at:
        raise _broken("its zip64 record is not where it must be", "the end of the file")
    if record[4] or record[5] or record[6] != record[7]:
        raise _broken("it is one part of several", "the end of the file")
    return record[7], record[8], record[9], record_at


def _directory(data: bytes, count: int) -> list[Entry]:
    entries, at = [], 0
    for _ in range(count):
        if len(data) - at < _DIRECTORY.size:
            raise _broken("its directory is shorter than its number of files")
        fields = _DIRECTORY.unpack_from(data, at)
        name_at = at + _DIRECTORY.size
        name_bytes, extra_bytes, comment_bytes = fields[12:15]
        at = name_at + name_bytes + extra_bytes + comment_bytes
        if fields[0] != b"PK\x01\x02" or at > len(data):
            raise _broken("its directory is damaged")
        name = _safe_name(data[name_at : name_at + name_bytes], fields[5])
        extra = data[name_at + name_bytes : name_at + name_bytes + extra_bytes]
        entries.append(_entry(fields, name, extra))
    if at != len(data):
        raise _broken("its directory holds more files than it says")
    return entries


def _entry(fields: tuple[int, ...], name: str, extra: bytes) -> Entry:
    where = f'entry "{shown(name)}"'
    _, _, system, _, _, flags, method, _, _, crc, packed, unpacked = fields[:12]
    header_at = fields[18]
    mode = fields[17] >> 16 if system == 3 else 0
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise wrong_content(
            "link_in_zip",
            f"{where} is a link or a device, not a file.",
            where=where,
            remedy="Put the file itself into the zip.",
        )
    if flags & 1:
        raise wrong_content(
            "encrypted_zip",
            f"{where} is protected by a password.",
            where=where,
            remedy="Make the zip without a password.",
        )
    if method not in (0, 8):
        raise wrong_type(
            "compression_not_read",
            f"{where} is packed by method {method}, which is not read.",
            where=where,
            remedy="Make the zip with the usual method (deflate).",
        )
    if 0xFFFFFFFF in (packed, unpacked, header_at):
        packed, unpacked, header_at = _zip64_sizes(extra, packed, unpacked, header_at, where)
    return Entry(name, method, crc, packed, unpacked, header_at)


def _zip64_sizes(
    extra: bytes, packed: int, unpacked: int, header_at: int, where: str
) -> tuple[int, int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            body = extra[at + 4 : at + 4 + length]
            wanted = [value == 0xFFFFFFFF for value in (unpacked, packed, header_at)]
            if len(body) < 8 * sum(wanted):
                break
            numbers = iter(struct.unpack_from(f"<{sum(wanted)}Q", body))
            unpacked = next(numbers) if wanted[0] else unpacked
            packed = next(numbers) if wanted[1] else packed
            header_at = next(numbers) if wanted[2] else header_at
            return packed, unpacked, header_at
        at += 4 + length
    raise _broken("its zip64 sizes are missing", where)


def _safe_name(raw: bytes, flags: int) -> str:
    """The name, if it could not be mistaken for a path out of the archive."""
    try:
        name = raw.decode("utf-8" if flags & 0x800 else "cp437")
    except UnicodeDecodeError:
        raise _broken("a file name is not UTF-8") from None
    parts = name.removesuffix("/").replace("\\", "/").split("/")
    if (
        not name
        or len(raw) > 1_024
        or not set(parts).isdisjoint(("", ".", ".."))
        or ":" in parts[0]
        or not name.isprintable()
        or set(name) & _DIRECTION_MARKS
    ):
        where = f'entry "{shown(name)}"'
        raise wrong_content(
            "unsafe_name",
            f"{where} has a name that points outside the zip or hides characters.",
            where=where,
            remedy="Rename it to a plain file name.",
        )
    return name


def _with_data(file: IO[bytes], entry: Entry) -> Entry:
    """Checks the entry's own header against the directory and finds where its bytes start."""
    where = f'entry "{shown(entry.name)}"'
    file.seek(entry.header_at)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise _broken("a file is not where the directory says", where)
    fields = _LOCAL.unpack(header)
    name = file.read(fields[10])
    encoding = "utf-8" if fields[3] & 0x800 else "cp437"
    if name != entry.name.encode(encoding, errors="replace") or fields[4] != entry.method:
        raise _broken("a file has another name or method than the directory says", where)
    data_at = entry.header_at + _LOCAL.size + fields[10] + fields[11]
    return Entry(
        entry.name,
        entry.method,
        entry.crc,
        entry.packed_bytes,
        entry.unpacked_bytes,
        entry.header_at,
        data_at,
    )


def _refuse_overlap(entries: list[Entry], directory_at: int) -> None:
    ordered = sorted(entries, key=lambda entry: entry.header_at)
    ends = [entry.data_at + entry.packed_bytes for entry in ordered]
    starts = [entry.header_at for entry in ordered[1:]] + [directory_at]
    for entry, end, next_start in zip(ordered, ends, starts, strict=True):
        if end > next_start:
            raise wrong_content(
                "overlapping_entries",
                f'entry "{shown(entry.name)}" shares bytes with the next one, as zip bombs do.',
                where=f'entry "{shown(entry.name)}"',
                remedy="Make the zip again with a common tool.",
            )


def _refuse_bomb(entry: Entry, limits: Limits) -> None:
    if entry.unpacked_bytes <= limits.archive_ratio_floor_bytes:
        return
    if entry.unpacked_bytes > limits.archive_ratio * max(1, entry.packed_bytes):
        raise ratio_too_high(entry, limits)


def ratio_too_high(entry: Entry, limits: Limits) -> UploadRejectedError:
    where = f'entry "{shown(entry.name)}"'
    return too_large(
        "ratio_too_high",
        f"{where} unpacks to more than {limits.archive_ratio} times its size, as zip bombs do.",
        where=where,
        limit=f"{limits.archive_ratio} times",
        remedy="Upload that file by itself, without a zip.",
    )


class EntryReader:
    """Unpacks one entry and counts what really comes out, whatever the directory says."""

    def __init__(self, file: IO[bytes], entry: Entry) -> None:
        self._file, self._entry = file, entry
        self._packed_left, self._at = entry.packed_bytes, entry.data_at
        self._inflate = zlib.decompressobj(-15) if entry.method == 8 else None
        self._crc = self._count = 0
        self._done = False

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end, after the checksum was found right."""
        while not self._done:
            data = self._next(size)
            if data:
                self._crc = zlib.crc32(data, self._crc)
                self._count += len(data)
                if self._count > self._entry.unpacked_bytes:
                    raise self._lie("holds more than the directory says")
                return data
        return b""

    def _packed(self, size: int) -> bytes:
        self._file.seek(self._at)
        data = self._file.read(min(size, self._packed_left))
        self._at += len(data)
        self._packed_left -= len(data)
        return data

    def _next(self, size: int) -> bytes:
        if self._inflate is None:
            data = self._packed(size)
            if not data:
                self._finish()
            return data
        packed = self._inflate.unconsumed_tail or self._packed(_READ_BYTES)
        try:
            data = self._inflate.decompress(packed, size)
        except zlib.error:
            raise self._lie("is damaged and cannot be unpacked") from None
        if not data and (self._inflate.eof or not packed):
            if not self._inflate.eof:
                raise self._lie("is cut short")
            self._finish()
        return data

    def _finish(self) -> None:
        self._done = True
        if self._count != self._entry.unpacked_bytes or self._crc != self._entry.crc:
            raise self._lie("does not match its size or checksum")

    def _lie(self, what: str) -> UploadRejectedError:
        where = f'entry "{shown(self._entry.name)}"'
        return _broken(f"{where} {what}", where)
