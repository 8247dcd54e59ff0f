"""Rows between processes: JSON as the library writes it, and each row comes back whole."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from datanets.parsing import Message, Row
from datanets.parsing.row_lines import decode_row, encode_row, quoted

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts)
@example("".join(map(chr, range(0x100))))
@example('\\"\\\\n\n\t"')
@example("\u2028 \U0001f642 \x7f")
def test_a_text_is_written_as_the_library_writes_it(text: str) -> None:
    assert quoted(text) == json.dumps(text, ensure_ascii=False).encode()


rows = st.one_of(
    st.builds(
        Row,
        kind=st.sampled_from(["instruction", "preference", "text"]),
        number=st.integers(1, 10**6),
        entry=texts,
        instruction=texts,
        response=texts,
        rejected=texts,
        text=texts,
        extra_wordings=st.lists(texts).map(tuple),
    ),
    st.builds(
        Row,
        kind=st.just("chat"),
        number=st.integers(1, 10**6),
        messages=st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), texts)).map(
            tuple
        ),
    ),
)


@given(rows)
def test_a_row_comes_back_whole_from_its_line(row: Row) -> None:
    line = encode_row(row)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert decode_row(line) == row
