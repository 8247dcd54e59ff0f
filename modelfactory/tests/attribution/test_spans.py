"""Verbatim spans against a search that tries everything."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfactory.attribution.spans import SpanIndex, SpanRules, TooMuchTextError, tokens_of

ROWS = [
    ("wren", "The wren weighs about ten grams. It sings from low perches, all year."),
    ("kite", "A kite eats carrion; it sings from low perches only in spring."),
    ("rook", "Rooks nest in elms.\nThey weigh about ten times as much."),
]
ANYTHING = SpanRules(words_minimum=1, kept_minimum=10**6, common_rows=10**6)


def found(answer: str, rows=ROWS, rules: SpanRules | None = None, question: str = ""):
    spans = SpanIndex(rows).find(answer, question, rules)
    return [(answer[span.start : span.end], span.record_ids) for span in spans]


def test_words_that_stand_in_a_row_are_found_with_their_place_and_row():
    assert found("I read that the wren weighs about ten grams today.") == [
        ("wren weighs about ten grams", ("wren",))
    ]


def test_a_span_is_as_long_as_it_can_be_and_names_every_row_that_holds_it():
    (words, rows), *others = found("Often sings from low perches!")
    assert (words, set(rows), others) == ("sings from low perches", {"wren", "kite"}, [])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("wren weighs about ten gram", ["wren weighs about ten"]),  # no half of a word
        ("weighs about ten grams. It sings", ["weighs about ten grams"]),  # nor of two sentences
        ("nest in elms They weigh", []),  # a line ends there in the row
        ("Rooks nest in\nelms", []),  # and here in the answer
        ("wren Weighs about ten", []),  # another case
        ("about ten grams", []),  # too short to say anything
    ],
)
def test_only_whole_words_of_one_sentence_count(answer, words):
    assert [span for span, _ in found(answer)] == words


def test_white_space_may_differ_and_signs_may_not():
    assert found("eats  carrion;\tit sings") == [("eats  carrion;\tit sings", ("kite",))]
    assert found("eats carrion: it sings") == []


def test_no_span_begins_or_ends_with_a_sign():
    assert found("(low perches, all year)")[0][0] == "low perches, all year"


def test_a_script_without_spaces_counts_its_signs():
    assert found("那只鸟重十克左右", [("bird", "鸟重十克。")]) == [("鸟重十克", ("bird",))]


def test_what_stands_in_very_many_rows_is_boilerplate():
    rows = [(f"r{at}", f"It is known to live in place{at}.") for at in range(11)]
    assert found("It is known to live there", rows) == []
    assert len(found("It is known to live there", rows[:10])[0][1]) == 10


def test_the_rarest_spans_are_kept_and_the_rows_that_fit_the_question_come_first():
    common = [(f"c{at}", "all of the other ones") for at in range(9)]
    rows = [
        *common,
        ("one", "quartz veins hold native gold"),
        ("two", "Ores? all of the other ones"),
    ]
    rules = SpanRules(kept_minimum=1)
    answer = "all of the other ones, quartz veins hold native gold"
    assert found(answer, rows, rules) == [("quartz veins hold native gold", ("one",))]
    assert found("all of the other ones", rows, question="ores")[0][1][0] == "two"


def test_too_many_words_are_refused_before_they_are_all_in_memory():
    def endless():
        while True:
            yield "row", "one two three"

    with pytest.raises(TooMuchTextError):
        SpanIndex(endless(), words_maximum=1_000)


@pytest.mark.parametrize("rows", [[], [("empty", "")], [("ends", "...\n")]])
def test_rows_without_words_hold_nothing(rows):
    assert found("any answer at all here", rows) == []


def test_it_needs_neither_torch_nor_django():
    code = (
        "import sys; from modelfactory.attribution import spans;"
        "assert not {'torch', 'transformers', 'peft', 'django'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


TEXT = st.lists(
    st.sampled_from(["a", "b", "ab", "A", "a-b", ",", ".", "\n", "é"]), max_size=12
).map(" ".join)


def naive(answer: str, rows: list[tuple[str, str]]) -> set[tuple[int, int, frozenset[str]]]:
    """Every stretch of the answer looked up in every row; those inside another are left out."""
    tokens = list(tokens_of(answer))
    hits = {}
    for first in range(len(tokens)):
        for last in range(first + 1, len(tokens) + 1):
            stretch = tokens[first:last]
            if any(token.is_break for token in stretch):
                break
            if stretch[0].is_word and stretch[-1].is_word:
                words = [token.text for token in stretch]
                holding = {name for name, text in rows if contains(text, words)}
                if holding:
                    hits[first, last] = (stretch[0].start, stretch[-1].end, frozenset(holding))
    inner = {
        one
        for one in hits
        for other in hits
        if one != other and other[0] <= one[0] and one[1] <= other[1]
    }
    return {hits[place] for place in hits.keys() - inner}


def contains(text: str, words: list[str]) -> bool:
    own = [token.text for token in tokens_of(text)]
    return any(own[at : at + len(words)] == words for at in range(len(own)))


@given(answer=TEXT, texts=st.lists(TEXT, max_size=5))
def test_it_finds_what_a_search_through_everything_finds(answer, texts):
    rows = [(f"r{at}", text) for at, text in enumerate(texts)]
    spans = SpanIndex(rows).find(answer, "", ANYTHING)
    assert {(span.start, span.end, frozenset(span.record_ids)) for span in spans} == naive(
        answer, rows
    )
    assert all(span.rows == len(span.record_ids) > 0 for span in spans)
