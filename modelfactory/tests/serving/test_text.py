from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfactory.serving.text import REPLACEMENT, TextStream
from modelfactory.tests.serving.conftest import byte_tokenizer

TOKENIZER = byte_tokenizer()


def stream(text: str, stop=(), strip_start=False) -> tuple[list[str], TextStream]:
    """The deltas of one token per byte, then the rest."""
    sent = TextStream(TOKENIZER, stop, strip_start=strip_start)
    deltas = []
    for token in TOKENIZER(text, add_special_tokens=False)["input_ids"]:
        deltas.append(sent.add(token))
        if sent.stopped:
            return deltas, sent
    return [*deltas, sent.finish()], sent


@given(st.text(max_size=20))
def test_deltas_make_the_text_and_never_hold_half_a_character(text):
    deltas, _ = stream(text)
    assert "".join(deltas) == text
    assert REPLACEMENT in text or not any(REPLACEMENT in delta for delta in deltas)


@given(st.text(alphabet="abé", max_size=12), st.text(alphabet="abé", min_size=1, max_size=3))
def test_nothing_of_a_stop_string_is_ever_shown(text, stop):
    deltas, sent = stream(text, (stop,))
    assert "".join(deltas) == text.split(stop)[0]
    assert sent.stopped == (stop in text)


def test_the_start_of_a_stop_string_is_shown_when_it_was_not_one():
    assert "".join(stream("a EN", ("END",))[0]) == "a EN"


def test_half_a_character_at_the_end_is_shown_as_such():
    sent = TextStream(TOKENIZER, (), strip_start=False)
    first = TOKENIZER("é", add_special_tokens=False)["input_ids"][0]
    assert sent.add(first) == ""
    assert sent.finish() == REPLACEMENT


@pytest.mark.parametrize(("text", "shown"), [("  \n hi ", "hi "), ("hi", "hi"), ("  ", "")])
def test_space_before_a_chat_answer_is_dropped(text, shown):
    assert "".join(stream(text, strip_start=True)[0]) == shown
