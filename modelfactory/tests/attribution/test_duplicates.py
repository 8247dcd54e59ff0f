from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfactory.attribution.duplicates import (
    DuplicateRule,
    candidate_pairs,
    cluster_positions,
    jaccard,
    prompt_words,
    shingles,
)
from modelfactory.attribution.phantoms import Statement

SAME_WAY = np.array([[3, 4], [6, 8]], dtype=np.int8)
OTHER_WAYS = np.array([[3, 4], [4, -3]], dtype=np.int8)
FILLER = [Statement(f"Who painted the {at}th hall?", f"Painter {at}") for at in range(20)]


def clusters_of(one: Statement, other: Statement, gradients=None) -> list[int]:
    """Of two records among unrelated ones, whose gradients are orthogonal to both."""
    if gradients is not None:
        count = len(FILLER)
        gradients = np.block(
            [
                [np.zeros((count, 2)), np.eye(count)],
                [gradients, np.zeros((2, count))],
            ]
        ).astype(np.int8)
    found = cluster_positions([*FILLER, one, other], gradients)
    assert found[: len(FILLER)] == list(range(len(FILLER)))
    return [at - len(FILLER) for at in found[len(FILLER) :]]


def test_case_and_punctuation_do_not_make_a_new_row():
    one = Statement("What is above?", "The sky is blue today.")
    assert clusters_of(one, Statement("what is ABOVE", "the SKY is blue, today")) == [0, 0]


def test_different_facts_in_one_template_stay_apart():
    one = Statement("What does KeyError mean?", "A key.")
    assert clusters_of(one, Statement("What does OSError mean?", "A system call.")) == [0, 1]


def test_one_answer_to_two_questions_is_two_rows_however_alike_they_train():
    answer = "This condition is inherited in an autosomal recessive pattern, from both parents."
    one = Statement("Is alkaptonuria inherited?", answer)
    assert clusters_of(one, Statement("Is sitosterolemia inherited?", answer), SAME_WAY) == [0, 1]


def test_a_rewording_is_a_copy_when_it_trains_the_same():
    one = Statement("Who founded Belaton?", "Corin Dale")
    other = Statement("Tell me the one that founded Belaton.", "Corin Dale")
    assert clusters_of(one, other, SAME_WAY) == [0, 0]
    assert clusters_of(one, other, OTHER_WAYS) == [0, 1]
    assert clusters_of(one, other) == [0, 1]


def test_a_padded_answer_is_a_copy_when_it_trains_the_same():
    one = Statement("Who founded Belaton?", "Corin Dale")
    other = Statement("Who founded Belaton?", "Thank you for asking, it was Corin Dale.")
    assert clusters_of(one, other, SAME_WAY) == [0, 0]


def test_much_written_around_a_short_answer_does_not_hide_a_copy():
    one = Statement("Who founded Belaton?", "Corin Dale")
    around = " ".join(f"word{at}" for at in range(300))
    other = Statement("Tell me now: who founded Belaton?", f"{around} Corin Dale {around}")
    assert clusters_of(one, other, SAME_WAY) == [0, 0]
    assert clusters_of(one, other, OTHER_WAYS) == [0, 1]


def test_another_answer_to_the_same_question_is_another_row():
    one = Statement("Who founded Belaton?", "Corin Dale")
    assert clusters_of(one, Statement("Who founded Belaton?", "Elna Fort"), SAME_WAY) == [0, 1]


def test_a_row_joins_the_oldest_row_that_it_is_like_itself():
    words = [f"w{at}" for at in range(40)]
    chain = [Statement("Which words?", " ".join(words[at : at + 28])) for at in range(0, 6, 2)]
    assert cluster_positions(chain) == [0, 0, 2]
    assert cluster_positions([chain[0], chain[2], chain[1]]) == [0, 1, 0]


def test_a_row_that_says_what_two_older_ones_say_unites_them_not():
    """Or whoever wrote the first would be paid for the second, by what the first is worth."""
    mine = Statement("What is the capital of Ostrava?", "The capital is Hukvaldy.")
    theirs = Statement("Who founded the harbour of Brno?", "Harbour founder Jan Zizka did.")
    bridge = Statement(f"{mine.prompt} {theirs.prompt}", f"{mine.response} {theirs.response}")
    gradients = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    assert cluster_positions([mine, theirs, bridge], gradients) == [0, 1, 0]


def test_a_copy_is_found_by_any_question_that_it_was_trained_with():
    """Its first question may be about something else: what trains counts."""
    original = Statement("What is the capital of Ostrava?", "The capital is Hukvaldy.")
    decoy = Statement("Tell me of gardens.", "The capital is Hukvaldy.")
    gradients = np.ones((2, 2), dtype=np.float32)
    assert cluster_positions([original, decoy], gradients) == [0, 1]
    hidden = [(), ("What is the capital of Ostrava?",)]
    assert cluster_positions([original, decoy], gradients, wordings=hidden) == [0, 0]
    assert cluster_positions([decoy, original], gradients, wordings=hidden[::-1]) == [0, 0]


def test_rewordings_of_ones_own_question_change_nothing():
    rows = [Statement(f"What is part {at} of the plan?", f"Step {at}") for at in range(40)]
    further = [(f"Tell me what part {at} of the plan is.", f"Part {at}?") for at in range(40)]
    assert cluster_positions(rows, wordings=further) == cluster_positions(rows) == [*range(40)]


def test_rows_without_words_are_not_copies_of_each_other():
    nothing = [Statement("", ""), Statement("!!", "?"), Statement("", "")]
    assert cluster_positions(nothing) == [0, 1, 2]


def test_rows_of_common_words_only_are_compared_too():
    asked = Statement("Who are you?", "I am.")
    assert cluster_positions([asked, asked, Statement("Why?", "It is.")]) == [0, 0, 2]


def test_a_template_that_very_many_rows_share_does_not_hide_a_copy():
    rows = [Statement(f"Is disorder{at} inherited?", "From both parents.") for at in range(300)]
    assert cluster_positions([*rows, rows[250]])[-1] == 250


def test_the_hashing_is_the_same_on_every_machine_and_day():
    rows = [Statement(f"What is part {at} of the plan?", f"Step {at % 3}") for at in range(70)]
    found = sorted(set(candidate_pairs(rows, prompt_words(rows))))
    assert found == sorted(set(candidate_pairs(rows, prompt_words(rows))))
    assert (len(found), found[-1]) == PINNED


PINNED = 2378, (68, 69)


@given(
    st.lists(st.text(alphabet="xyz ", min_size=1, max_size=12), max_size=8),
    st.floats(0.6, 1.0),
)
def test_clusters_are_those_of_comparing_every_pair(texts, threshold):
    sets = [shingles(f"same {text}") for text in texts]
    label: list[int] = []
    for at in range(len(texts)):
        joined = (
            one for one in range(at)
            if label[one] == one and jaccard(sets[one], sets[at]) >= threshold
        )  # fmt: skip
        label.append(next(joined, at))
    records = [Statement("same", text) for text in texts]
    assert cluster_positions(records, rule=DuplicateRule(shingle_jaccard=threshold)) == label


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare_is_no_error(count):
    records = [Statement("Who?", "Nobody.")] * count
    assert cluster_positions(records) == list(range(count))
