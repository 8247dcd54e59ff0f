"""Looking at many texts at once finds what looking at each alone finds: no more and no less."""

from __future__ import annotations

import io
import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rensa import RMinHash

from datanets.checks import answers, batch, duplicates, language, text_rules
from datanets.checks.answers import answer_findings
from datanets.checks.child import _may_hold_personal_data
from datanets.checks.language_batch import languages_of
from datanets.checks.looks import look_at
from datanets.checks.personal_data import MAY_HOLD_SOME
from datanets.checks.text_rules import text_findings
from datanets.checks.toxicity import SIGNS, THREATS, WORDS, toxic_words
from datanets.content import plain_words, plain_words_of_plain_text
from datanets.parsing import Row
from datanets.parsing.row_lines import encode_row

PARTS = (
    "the", "of", "and", "river", "Bridge.", "water,", "don't", "a", "I", "so", "123", "4.5",
    "+49-30", "12:34", "ab:cd", "::1", "jane@acme.com", "#", "#tag", "...", "…", "—", "-", "•",
    "fuck", "you", "should", "die", "Drop", "dead!", "lorem", "ipsum", "cookie", "policy",
    "ΟΔΟΣ", "ΑΣ'Α",  # noqa: RUF001 (Greek)
    "Straße", "İstanbul", "naïve", "中文没有空格", "日本語。", "привет", "мир",
    "🙂", "x" * 70, "snake_case_word", "٣٤٥٦٧٨", "e\u0301", "ǅ", "ⓐ", "Ⅷ", "ﬁ", "\x00",
)  # fmt: skip
SPACES = (*" " * 4, "  ", "\n", "\t", "\r\n", *"\u00a0\u2003\x1c\x0b\u2028")
GREEK = "Ναι, ΟΔΟΣ!"  # noqa: RUF001 (Greek)
ASCII_PARTS = tuple(part for part in PARTS if part.isascii())


@st.composite
def texts(draw: st.DrawFn) -> str:
    parts = draw(st.sampled_from((PARTS, ASCII_PARTS, ASCII_PARTS[:10])))
    spaces = draw(st.sampled_from((SPACES, (" ",), (" ", "\n"))))
    drawn = draw(st.lists(st.tuples(st.sampled_from(parts), st.sampled_from(spaces)), max_size=60))
    text = "".join(part + space for part, space in drawn)
    return text * draw(st.sampled_from((1, 1, 1, 2, 5)))


any_texts = st.lists(st.one_of(texts(), st.text(max_size=80)), max_size=12)
many = settings(max_examples=300, deadline=None)


def words_of_head(text: str) -> list[str]:
    return re.findall(r"\w+", text[: duplicates.CHARACTERS_MAX].lower())


def plain_keys(text: str) -> list[int]:
    """The band keys by their definition: one text, one word and one permutation after another."""
    words = words_of_head(text)
    if not words:
        return [np.iinfo(np.int64).max] * duplicates.BANDS
    mix = [int(one) for one in duplicates._MIX]
    single = RMinHash.hash_token_sets([words])[0]
    pairs = [(one * mix[0] ^ other * mix[1]) % 2**64 for one, other in itertools.pairwise(single)]
    digest = RMinHash.digest_matrix_from_flat_token_hashes(
        np.array([*single, *pairs], dtype=np.uint64),
        np.array([0, len(single) + len(pairs)], dtype=np.uint64),
        duplicates.PERMUTATIONS,
        duplicates.SEED,
    ).to_rows()[0]
    size = duplicates.PERMUTATIONS // duplicates.BANDS
    keys = []
    for band in range(duplicates.BANDS):
        key = (band + 1) * mix[0] % 2**64
        for value in digest[band * size : (band + 1) * size]:
            key = (key ^ value) * mix[1] % 2**64
            key ^= key >> 29
        keys.append(key - 2**64 if key >= 2**63 else key)
    return keys


@many
@given(any_texts)
def test_words_and_parts_are_those_of_the_plain_expressions(given_texts):
    seen = []
    for one in batch.batches(given_texts, 50):
        words = one.words()
        for at, place in enumerate(one.place.tolist()):
            text = given_texts[place]
            seen.append(place)
            own = words.ids[words.first[at] : words.first[at + 1]]
            assert [words.distinct[word] for word in own] == re.findall(r"\w+", text[:50].lower())
            if not one.moved[at]:
                parts = one.ids[one.first[at] : one.first[at + 1]]
                assert [one.vocabulary[part] for part in parts] == text.lower().split()
    assert sorted(seen) == list(range(len(given_texts)))


@many
@given(any_texts)
def test_band_keys_are_those_of_their_definition(given_texts):
    keys = duplicates.near_keys(given_texts)
    assert keys.tolist() == [plain_keys(text) for text in given_texts]


@pytest.mark.parametrize("word", ["word ", "ΟΔΟΣ ", "a", "中", "Σ'"])
def test_only_the_first_characters_of_a_long_text_count(word):
    long = (word * 30_000)[:29_999]
    given_texts = [long, f"Short and {word}", long + "more", long[: duplicates.CHARACTERS_MAX]]
    keys = duplicates.near_keys(given_texts)
    assert keys.tolist() == [plain_keys(text) for text in given_texts]


def test_band_keys_stay_what_the_database_holds():
    """Written down from the release that first stored them."""
    keys = duplicates.near_keys(["A stable key is what the database is asked for.", GREEK])
    assert keys[:, 0].tolist() == [-7572965840884526851, 7079904885695068695]
    assert keys[:, 1].tolist() == [935878838813877573, 788530258998994066]


@many
@given(any_texts, st.booleans(), st.sampled_from(("", "en", "de")))
def test_what_is_not_looked_at_has_no_finding(given_texts, prose, code):
    looks = look_at(given_texts, [prose] * len(given_texts))
    for at, text in enumerate(given_texts):
        look = int(looks.rules[at])
        assert list(text_findings(text, prose=prose, language=code, look=look)) == list(
            text_findings(text, prose=prose, language=code)
        )
        assert looks.toxic[at] or toxic_words(text) is None
        assert looks.personal[at] or MAY_HOLD_SOME.search(text) is None
        assert not looks.plain[at] or plain_words_of_plain_text(text) == plain_words(text)
    assert looks.keys.tolist() == duplicates.near_keys(given_texts).tolist()


@many
@given(st.one_of(texts(), st.text(max_size=40), st.text('\\bnt:@1234567"\x0b\x1f ', max_size=12)))
@example("\\b:a")
@example("1\x0b2\x1c3")
def test_the_recognisers_are_loaded_for_every_upload_that_needs_them(text):
    """The raw lines are looked at before the lock: afterwards it would be too late."""
    rows = [Row(kind="text", number=at, text=one) for at, one in ((999_998, "None."), (1, text))]
    lines = io.BytesIO(b"".join(map(encode_row, rows)))
    assert _may_hold_personal_data(lines) or MAY_HOLD_SOME.search(text) is None
    assert lines.tell() == 0


def test_the_numbers_of_rows_are_no_personal_data():
    rows = [Row(kind="text", number=at, text="Nothing.") for at in range(999_000, 1_001_000)]
    assert not _may_hold_personal_data(io.BytesIO(b"".join(map(encode_row, rows))))


@pytest.mark.parametrize("phrase", ["a b c d ", "of the river ", "so it is as it is, "])
@pytest.mark.parametrize("other", ["word{} ", "größe{} "])
def test_repetition_is_looked_at_from_the_limit_on(phrase, other):
    """From texts without the phrase to texts of nothing else, long ones too."""
    given_texts = [
        "".join(phrase if at % step == 0 else other.format(at) for at in range(length))
        for length in (20, 60, 300, 7_000)
        for step in range(1, 40)
    ]
    looks = look_at(given_texts, [False] * len(given_texts))
    found = [list(text_findings(text, prose=False)) for text in given_texts]
    quick = [
        list(text_findings(text, prose=False, look=look))
        for text, look in zip(given_texts, looks.rules.tolist(), strict=True)
    ]
    assert quick == found
    assert 10 < sum(map(bool, found)) < len(found)
    assert (looks.rules == 0).sum() > 0


@pytest.mark.parametrize("line", ["It is said once more.", "Größe wird noch einmal genannt."])
def test_the_fewest_lines_and_words_that_have_a_rule_are_looked_at(line):
    given_texts = ["\n".join([line] * text_rules.LINES_MIN), "ab " * text_rules.WORDS_MIN]
    found = look_at(given_texts, [False, False])
    for text, look in zip(given_texts, found.rules.tolist(), strict=True):
        quick = list(text_findings(text, prose=False, look=look))
        assert quick == list(text_findings(text, prose=False))
        assert quick


def test_most_rows_of_plain_text_are_spared_the_rules():
    given_texts = [
        f"Row {at} tells of the bridge over the river and of nothing else that matters here; who"
        f" reads it knows as much as before, {at} times over, and may go home content."
        for at in range(50)
    ]
    looks = look_at(given_texts, [False] * 50)
    assert not looks.rules.any()
    assert not looks.toxic.any()
    assert not looks.personal.any()


def test_lower_case_keeps_what_the_rules_ask_of_a_character():
    """The batch holds texts in lower case; letters and digits are asked of that."""
    for code in range(sys.maxunicode + 1):
        one, lowered = chr(code), chr(code).lower()
        if len(lowered) == 1:
            assert (one.isalpha(), one.isdecimal(), one.isspace()) == (
                lowered.isalpha(),
                lowered.isdecimal(),
                lowered.isspace(),
            )


def test_every_entry_of_the_list_of_abuse_holds_a_word_that_it_is_known_by():
    assert all(SIGNS & set(re.findall(r"\w+", entry)) for entry in (*WORDS, *THREATS))


@settings(max_examples=60, deadline=None)
@given(any_texts)
@example(["THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG, AND SO ON.", "1" * 60, " " * 50, "x" * 39])
@example(["\U0001d160" * 600, "ﬁ" * 600, "İ" * 600, "é" * 600, "a" * 501])
def test_languages_are_those_of_each_text_alone(given_texts):
    assert languages_of(given_texts) == [language.language_of(text) for text in given_texts]


answer_texts = st.builds(
    lambda start, text, times, end: start + text * times + end,
    st.sampled_from(("", "I'm sorry, but I can't. ", "As an AI model, ", "I cannot answer. ", "…")),
    texts(),
    st.integers(1, 12),
    st.sampled_from(("", "and then", "```", ".", "- ")),
)


@many
@given(st.one_of(texts(), st.just("Why is it so?")), answer_texts)
def test_the_head_of_a_long_answer_says_what_the_whole_says(question, answer):
    row = Row(kind="instruction", number=1, instruction=question, response=answer)
    found = list(answer_findings(row))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "HEAD_CHARACTERS", 10**9)
        patch.setattr(answers, "_REFUSAL_SIGNS", ("",))
        assert found == list(answer_findings(row))


def test_the_smallest_share_of_a_pair_is_below_every_limit_for_phrases():
    from datanets.checks import looks

    assert all(
        looks._PAIR_SHARE * (1 if size == 2 else 2) <= limit
        for size, limit in text_rules.TOP_PHRASES
    )
