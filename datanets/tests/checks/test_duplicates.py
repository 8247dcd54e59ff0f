from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datanets.checks.duplicates import (
    NEAR_JACCARD,
    candidate_pairs,
    jaccard,
    near_duplicates,
    near_keys,
    shingles,
    stored_keys,
)
from datanets.checks.looks import look_at

WORDS = [f"word{at}" for at in range(2_000)]


def sentences(count: int, seed: int = 1, length: int = 30) -> list[list[str]]:
    drawn = random.Random(seed)
    return [drawn.choices(WORDS, k=length) for _ in range(count)]


def found_in(texts: list[str]) -> dict[int, int]:
    return {near.row: near.like for near in near_duplicates(near_keys(texts), texts.__getitem__)}


def test_a_row_with_one_word_changed_is_found_with_its_match():
    rows = sentences(500)
    changed = [[*row[:10], "other", *row[11:]] for row in rows]
    found = found_in([" ".join(row) for row in [*rows, *changed]])
    assert found == {500 + at: at for at in range(500)}


def test_rows_that_only_share_a_frame_are_left_alone():
    frame = "Please answer the question about the register of {} in short and clear words"
    assert found_in([frame.format(" ".join(row)) for row in sentences(200)]) == {}


def test_case_spacing_and_punctuation_do_not_count():
    assert found_in(["Mapping key, not found!", "mapping  KEY not found"]) == {1: 0}


def test_rows_without_words_are_like_nothing():
    keys = near_keys(["...", "", "!!!"])
    assert len(candidate_pairs(keys)) == 0
    assert stored_keys(keys[0]) == []


def test_keys_are_the_same_in_every_batch_and_process():
    alone = near_keys(["A stable key is what the database is asked for."])
    among = near_keys(
        [*map(" ".join, sentences(3)), "A stable key is what the database is asked for."]
    )
    assert np.array_equal(alone[0], among[3])
    assert stored_keys(alone[0])[0] == FIRST_KEY


# Stored with every record: a release that changes it must compute all keys anew.
FIRST_KEY = -7_572_965_840_884_526_851


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="abc ", max_size=12), max_size=12))
def test_what_is_reported_always_reaches_the_threshold(texts):
    for near in near_duplicates(near_keys(texts), texts.__getitem__):
        assert near.like < near.row
        assert near.jaccard == jaccard(shingles(texts[near.row]), shingles(texts[near.like]))
        assert near.jaccard >= NEAR_JACCARD


def test_a_thousand_copies_make_few_pairs():
    assert len(candidate_pairs(near_keys(["one and the same row"] * 1_000))) < 2_000


def test_sketches_leave_out_only_pairs_that_are_not_alike():
    rows = sentences(300, seed=3)
    drawn = random.Random(4)
    texts = [" ".join(words) for words in rows]
    for words in rows:
        changed = [drawn.choice(WORDS) if drawn.random() < 0.05 else word for word in words]
        texts.append(" ".join(changed))
    looks = look_at(texts, [False] * len(texts))
    found = list(near_duplicates(looks.keys, texts.__getitem__))
    assert found == list(near_duplicates(looks.keys, texts.__getitem__, sketches=looks.sketches))
    assert len(found) > 100


def test_sketches_spare_reading_pairs_that_only_share_a_band():
    texts = [" ".join(words) for words in sentences(400, seed=6)]
    looks = look_at(texts, [False] * len(texts))
    keys = looks.keys.copy()
    keys[:, 0] = 1
    read: list[int] = []

    def text_of(place: int) -> str:
        read.append(place)
        return texts[place]

    assert list(near_duplicates(keys, text_of, sketches=looks.sketches)) == []
    assert len(read) < 10
