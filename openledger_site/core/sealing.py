"""Files under authenticated encryption, read and written as streams; and keys wrapped by keys.

A sealed file is `MAGIC`, 32 random bytes, then frames of a mebibyte: AES-256-GCM (SP 800-38D) under
a key of this file alone (HKDF-SHA256 of the data key and those bytes), the frame's number as the
nonce. Each frame authenticates the file's header, its own number and whether it is the last, so
that a file that was cut, reordered, joined with another or given another name does not open. After
STREAM (Hoang, Reyhanitabar, Rogaway and Vizár 2015).

A sealed text is one line: `TEXT_MARK`, the id of its key, base64 of nonce and ciphertext. The nonce
is an HMAC of the text and of where it stands, so that the same text in the same place is sealed to
the same line (a row that is saved again does not change) and no two others share a nonce. After SIV
(Rogaway and Shrimpton 2006).

A keyed hash is an HMAC of a hash, so that whoever has it and no key cannot say of a guess whether
it is right. Equal hashes of one use are equal under one key, and tell nothing under two.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Iterable, Iterator
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"OLSEAL01"
KEY_BYTES = 32
FRAME_BYTES = 1 << 20
_SALT_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16


TEXT_MARK = "olseal1:"
KEYED_MARK = "keyed:"


class SealBrokenError(Exception):
    """The file, the text or the wrapped key was changed, or is under another key."""


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def seal(chunks: Iterable[bytes], target: IO[bytes], key: bytes, name: bytes) -> None:
    """Write `chunks` sealed to `target`. `name` is what the file has to be opened as."""
    salt = os.urandom(_SALT_BYTES)
    target.write(MAGIC + salt)
    cipher = _file_cipher(key, salt)
    number, waiting = 0, b""
    for frame in _frames(chunks):
        if number:
            target.write(_seal_frame(cipher, waiting, salt, name, number - 1, last=False))
        waiting, number = frame, number + 1
    target.write(_seal_frame(cipher, waiting, salt, name, max(0, number - 1), last=True))


def unseal(source: IO[bytes], key: bytes, name: bytes) -> Iterator[bytes]:
    """The plain bytes, a frame at a time. Raises `SealBrokenError`.

    Whoever reads must not use what came before the error: the last frame says that it is whole.
    """
    header = source.read(len(MAGIC) + _SALT_BYTES)
    salt = header[len(MAGIC) :]
    if header[: len(MAGIC)] != MAGIC or len(salt) != _SALT_BYTES:
        raise SealBrokenError("not a sealed file")
    cipher, number = _file_cipher(key, salt), 0
    frame = source.read(FRAME_BYTES + _TAG_BYTES)
    while True:
        following = source.read(FRAME_BYTES + _TAG_BYTES)
        last = not following
        try:
            yield cipher.decrypt(_nonce(number), frame, _about(salt, name, number, last=last))
        except InvalidTag as error:
            raise SealBrokenError(f"frame {number} was changed") from error
        if last:
            return
        frame, number = following, number + 1


class TextSealer:
    """Seals and opens texts under keys made of one data key; `key_id` names it in each line."""

    def __init__(self, key: bytes, key_id: str) -> None:
        self._mark = f"{TEXT_MARK}{key_id}:"
        both = _derived(key, b"", b"openledger sealed text v1", 2 * KEY_BYTES)
        self._cipher, self._nonces = AESGCM(both[:KEY_BYTES]), both[KEY_BYTES:]

    def seal(self, text: str, *, column: str, place: str) -> str:
        """`column` has to be said again to open it; `place`, the row, only adds to the nonce."""
        plain = text.encode()
        about = f"{self._mark}{column}\0".encode()
        nonce = hmac.digest(self._nonces, about + f"{place}\0".encode() + plain, "sha256")
        sealed = self._cipher.encrypt(nonce[:_NONCE_BYTES], plain, about)
        return self._mark + base64.b64encode(nonce[:_NONCE_BYTES] + sealed).decode()

    def unseal(self, line: str, *, column: str) -> str:
        """Raises `SealBrokenError`."""
        try:
            data = base64.b64decode(line.removeprefix(self._mark), validate=True)
            about = f"{self._mark}{column}\0".encode()
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], about)
        except (InvalidTag, ValueError) as error:
            raise SealBrokenError("the text was changed, or is under another key") from error
        return plain.decode()


class HashKeyer:
    """Turns what anybody could compute of a guess into what needs the key of a Datanet's rows."""

    def __init__(self, key: bytes) -> None:
        self._key = _derived(key, b"", b"openledger keyed hash v1", KEY_BYTES)

    def hex(self, digest: str, use: str) -> str:
        """64 hex digits; the same hash in two uses gives two that have nothing in common."""
        return hmac.digest(self._key, f"{use}\0{digest}".encode(), "sha256").hex()

    def number(self, number: int, use: str) -> int:
        """64 bits as a signed number, of such a number."""
        made = hmac.digest(self._key, f"{use}\0{number}".encode(), "sha256")
        return int.from_bytes(made[:8], "big", signed=True)


def keyed_form(digits: str) -> str:
    """An HMAC in hex as it is stored: as long as a plain hash, so that a column holds either. 232
    bits of it are left."""
    return KEYED_MARK + digits[: 64 - len(KEYED_MARK)]


def key_id_of(line: str) -> str:
    """Which key a sealed text names."""
    return line.removeprefix(TEXT_MARK).partition(":")[0]


def wrap_key(data_key: bytes, wrapping_key: bytes, name: bytes) -> bytes:
    """A data key under a wrapping key: nonce and ciphertext."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(wrapping_key).encrypt(nonce, data_key, b"data key\0" + name)


def unwrap_key(wrapped: bytes, wrapping_key: bytes, name: bytes) -> bytes:
    """Raises `SealBrokenError`."""
    nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
    try:
        return AESGCM(wrapping_key).decrypt(nonce, sealed, b"data key\0" + name)
    except (InvalidTag, ValueError) as error:
        raise SealBrokenError("the key was changed, or is under another wrapping key") from error


def _file_cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(_derived(key, salt, b"openledger sealed file v1", KEY_BYTES))


def _derived(key: bytes, salt: bytes, use: bytes, size_bytes: int) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError("a data key has 32 bytes")
    return HKDF(SHA256(), size_bytes, salt, use).derive(key)


def _seal_frame(
    cipher: AESGCM, frame: bytes, salt: bytes, name: bytes, number: int, *, last: bool
) -> bytes:
    return cipher.encrypt(_nonce(number), frame, _about(salt, name, number, last=last))


def _nonce(number: int) -> bytes:
    return number.to_bytes(_NONCE_BYTES, "big")


def _about(salt: bytes, name: bytes, number: int, *, last: bool) -> bytes:
    return MAGIC + salt + number.to_bytes(8, "big") + bytes([last]) + name


def _frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of `FRAME_BYTES`; the last one may be shorter."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= FRAME_BYTES:
            yield bytes(waiting[:FRAME_BYTES])
            del waiting[:FRAME_BYTES]
    if waiting:
        yield bytes(waiting)
