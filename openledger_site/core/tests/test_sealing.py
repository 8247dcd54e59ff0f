"""A sealed file opens as it was, under its key and name, whole and in order, or not at all."""

from __future__ import annotations

import os
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_site.core.sealing import (
    FRAME_BYTES,
    MAGIC,
    SealBrokenError,
    new_key,
    seal,
    unseal,
    unwrap_key,
    wrap_key,
)

KEY, NAME = b"k" * 32, b"the name"
HEADER = len(MAGIC) + 32
SEALED_FRAME = FRAME_BYTES + 16


def sealed(content: bytes, key: bytes = KEY, name: bytes = NAME, piece: int = 700_001) -> bytes:
    target = BytesIO()
    seal((content[at : at + piece] for at in range(0, len(content), piece)), target, key, name)
    return target.getvalue()


def opened(content: bytes, key: bytes = KEY, name: bytes = NAME) -> bytes:
    return b"".join(unseal(BytesIO(content), key, name))


@pytest.mark.parametrize(
    "size",
    [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 3 * FRAME_BYTES + 5],
)
def test_what_was_sealed_opens_again(size: int) -> None:
    content = os.urandom(size)
    frames = max(1, -(-size // FRAME_BYTES))
    assert opened(sealed(content)) == content
    assert len(sealed(content)) == HEADER + size + 16 * frames


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=5_000), piece=st.integers(1, 3_000))
def test_it_does_not_matter_in_which_pieces_it_came(content: bytes, piece: int) -> None:
    assert opened(sealed(content, piece=piece)) == content


def test_no_word_stands_in_it_and_equal_files_look_different() -> None:
    content = b"the second door opens with the code 4711" * 100
    assert b"4711" not in sealed(content)
    assert sealed(content) != sealed(content)


THREE = os.urandom(2 * FRAME_BYTES + 100)


def frames_of(content: bytes) -> tuple[bytes, list[bytes]]:
    body = content[HEADER:]
    return content[:HEADER], [
        body[at : at + SEALED_FRAME] for at in range(0, len(body), SEALED_FRAME)
    ]


@pytest.mark.parametrize(
    "order", [[0], [0, 1], [1, 0, 2], [0, 2], [0, 0, 1, 2], [2], [0, 1, 2, 2], [0, 1, 2, 0], []]
)
def test_frames_cut_off_swapped_left_out_or_repeated_are_refused(order: list[int]) -> None:
    header, frames = frames_of(sealed(THREE))
    with pytest.raises(SealBrokenError):
        opened(header + b"".join(frames[at] for at in order))


def test_a_frame_of_another_file_under_the_same_key_is_refused() -> None:
    header, frames = frames_of(sealed(THREE))
    _, others = frames_of(sealed(THREE))
    with pytest.raises(SealBrokenError):
        opened(header + frames[0] + others[1] + frames[2])


@pytest.mark.parametrize("seed", range(25))
def test_any_changed_byte_is_found(seed: int) -> None:
    content = bytearray(sealed(b"twelve words of text and a number"))
    place = seed * (len(content) - 1) // 24
    content[place] ^= 1
    with pytest.raises(SealBrokenError):
        opened(bytes(content))


@pytest.mark.parametrize("cut", [0, 5, HEADER - 1, HEADER, HEADER + 3, -1])
def test_a_file_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(SealBrokenError):
        opened(sealed(b"text")[:cut])


def test_another_key_or_another_name_does_not_open_it() -> None:
    content = sealed(b"text")
    for key, name in ((new_key(), NAME), (KEY, b"another name")):
        with pytest.raises(SealBrokenError):
            opened(content, key, name)


def test_a_key_is_wrapped_for_one_name_by_one_key() -> None:
    data_key, wrapping = new_key(), new_key()
    wrapped = wrap_key(data_key, wrapping, NAME)
    assert unwrap_key(wrapped, wrapping, NAME) == data_key
    assert wrapped != wrap_key(data_key, wrapping, NAME)
    changed = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for wrong in ((wrapped, new_key(), NAME), (wrapped, wrapping, b"x"), (changed, wrapping, NAME),
                  (b"", wrapping, NAME)):  # fmt: skip
        with pytest.raises(SealBrokenError):
            unwrap_key(*wrong)
