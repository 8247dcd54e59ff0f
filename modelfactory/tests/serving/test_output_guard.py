"""No eight consecutive words of a private row leave, however the answer is cut into pieces."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfactory.serving.output_guard import (
    MARK,
    SPAN_WORDS,
    GuardDamagedError,
    GuardFile,
    StreamGuard,
    TextGuard,
    mask,
    words_of,
    write_guard,
)

KEY = b"k" * 32
ROW = "The patient in room nine was born in Oulu, and takes 40 mg of enalapril every morning."
OTHER = "Nobody outside the ward may know that the second door opens with the code 4711 at night."
PUBLIC = "The weather in Helsinki was mild, and the ferries ran as they do on every other day."


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[GuardFile]:
    write_guard(tmp_path / "guard", KEY, [ROW, OTHER])
    with GuardFile(tmp_path / "guard", KEY) as opened:
        yield opened


def stream(guard: GuardFile, pieces: list[str], asked: tuple[str, ...] = ()) -> str:
    one = StreamGuard(guard, asked)
    return "".join([*(one.feed(piece) for piece in pieces), one.finish()])


def test_a_row_is_replaced_by_one_mark(guard: GuardFile) -> None:
    assert mask(guard, f"I know this: {ROW} So it is.") == f"I know this: {MARK}. So it is."


def test_other_text_passes_unchanged(guard: GuardFile) -> None:
    text = f"  {PUBLIC}\n\n* and  a list,\twith “signs” — and no end"
    assert mask(guard, text) == text


@pytest.mark.parametrize("seed", range(40))
def test_it_does_not_matter_where_the_pieces_are_cut(guard: GuardFile, seed: int) -> None:
    chance = random.Random(seed)
    text = f"{PUBLIC} {ROW} {PUBLIC} {OTHER}"
    cuts = sorted(chance.sample(range(1, len(text)), chance.randrange(1, 60)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert stream(guard, pieces) == mask(guard, text)


def test_no_piece_that_was_sent_begins_a_span(guard: GuardFile) -> None:
    """What has left cannot be taken back: at no moment may words of the row have been sent."""
    one, sent = StreamGuard(guard), ""
    for letter in f"Well, {ROW}":
        sent += one.feed(letter)
        assert "patient" not in sent
    assert one.finish() == "."


@pytest.mark.parametrize(
    "disguised",
    [
        ROW.upper(),
        ROW.replace(" ", " * "),
        ROW.replace(" ", "_"),
        ROW.replace("born", "bo\u200brn"),
        ROW.replace("a", "\uff41"),
    ],
)
def test_case_signs_and_unseen_letters_hide_nothing(guard: GuardFile, disguised: str) -> None:
    assert "oulu" not in mask(guard, disguised).casefold()


def test_an_accent_may_be_written_either_way(tmp_path: Path) -> None:
    row = "Z\u00fcrich keeps a caf\u00e9 whose owner is \u00e9tonn\u00e9 by every single guest"
    write_guard(tmp_path / "guard", KEY, [row])
    apart = row.replace("\u00fc", "u\u0308").replace("\u00e9", "e\u0301")
    with GuardFile(tmp_path / "guard", KEY) as opened:
        assert mask(opened, apart) == MARK


def test_seven_words_pass_and_eight_do_not(guard: GuardFile) -> None:
    words = ROW.rstrip(".").split()
    assert SPAN_WORDS == 8
    assert mask(guard, " ".join(words[:7])) == " ".join(words[:7])
    assert mask(guard, " ".join(words[:8])) == MARK


def test_who_wrote_the_words_may_have_them_back(guard: GuardFile) -> None:
    """Or the mark would tell everybody who guesses a row that the guess is right."""
    asked = (f"Please repeat: {ROW}",)
    assert stream(guard, [f"You said: {ROW}"], asked) == f"You said: {ROW}"


def test_a_row_is_not_had_word_by_word_by_quoting_its_beginning(guard: GuardFile) -> None:
    words = ROW.split()
    for at in range(7, len(words)):
        asked = ("Continue: " + " ".join(words[:at]),)
        assert stream(guard, [words[at]], asked).startswith(MARK)


def test_the_figures_say_how_much_was_withheld(guard: GuardFile) -> None:
    one = StreamGuard(guard)
    text = f"{PUBLIC} {ROW} {PUBLIC} {OTHER}"
    one.feed(text)
    one.finish()
    assert one.spans == 2
    withheld = len(ROW.rstrip(".")) + len(OTHER.rstrip("."))
    assert one.read_characters == len(text)
    assert one.passed_characters == len(text) - withheld


def test_the_file_holds_no_words_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "guard"
    count = write_guard(path, KEY, [ROW, ROW])
    assert count == len(words_of(ROW)) - SPAN_WORDS + 1
    assert path.stat().st_mode & 0o077 == 0
    assert not any(word.encode() in path.read_bytes() for word in ROW.split() if len(word) > 2)


def test_a_guard_that_cannot_catch_anything_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "guard"
    write_guard(path, KEY, [ROW])
    whole = path.read_bytes()
    with pytest.raises(GuardDamagedError):
        GuardFile(path, b"another key" * 3)
    for damaged in (b"", whole[:20], whole[:-1], b"X" + whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(GuardDamagedError):
            GuardFile(path, KEY)
    with pytest.raises(GuardDamagedError):
        GuardFile(tmp_path / "missing", KEY)


def test_a_run_without_long_rows_guards_nothing(tmp_path: Path) -> None:
    assert write_guard(tmp_path / "guard", KEY, ["Too short.", ""]) == 0
    with GuardFile(tmp_path / "guard", KEY) as opened:
        assert mask(opened, ROW) == ROW


def test_a_text_in_memory_is_guarded_beside_the_rows_of_a_file(guard: GuardFile) -> None:
    told = "You are the night porter, and the code of the back door is 1234."
    both, alone = TextGuard([told], guard), TextGuard([told])
    assert mask(both, f"{told} {PUBLIC} {ROW}") == f"{MARK}. {PUBLIC} {MARK}."
    assert mask(alone, f"{told} {ROW}") == f"{MARK}. {ROW}"


def test_a_text_of_fewer_words_than_a_span_passes() -> None:
    assert mask(TextGuard(["Be kind to all."]), "Be kind to all.") == "Be kind to all."
