from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelfactory.attribution.duplicates import cluster_positions, jaccard, shingles


def test_case_and_punctuation_do_not_make_a_new_row():
    assert cluster_positions(["The sky is blue today.", "the SKY is blue, today"]) == [0, 0]


def test_different_facts_in_one_template_stay_apart():
    texts = ["What does KeyError mean? A key.", "What does OSError mean? A system call."]
    assert cluster_positions(texts) == [0, 1]


def test_a_chain_of_near_copies_is_one_cluster_with_the_oldest_row_first():
    words = [f"w{at}" for at in range(30)]
    texts = [" ".join(words[at : at + 28]) for at in range(3)]
    assert cluster_positions(texts) == [0, 0, 0]


def test_rows_without_words_are_not_copies_of_each_other():
    assert cluster_positions(["", "!!", ""]) == [0, 1, 2]


@given(st.lists(st.text(alphabet="ab ", max_size=12), max_size=8), st.floats(0.1, 1.0))
def test_clusters_are_those_of_comparing_every_pair(texts, threshold):
    sets = [shingles(text) for text in texts]
    label = list(range(len(texts)))
    for right in range(len(texts)):
        for left in range(right):
            if jaccard(sets[left], sets[right]) >= threshold:
                merged, gone = sorted((label[left], label[right]))
                label = [merged if value == gone else value for value in label]
    assert cluster_positions(texts, threshold=threshold) == label
