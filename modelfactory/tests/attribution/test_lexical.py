from __future__ import annotations

import numpy as np
import pytest

from modelfactory.attribution.lexical import LexicalIndex

TEXTS = [
    "ZeroDivisionError: the second argument to a division was zero.",
    "KeyError: a mapping key was not found.",
    "HTTP status 404 is Not Found.",
]


@pytest.mark.parametrize("salt", [b"", b"a salt"])
def test_the_text_about_the_question_comes_first(salt):
    index = LexicalIndex.from_texts(TEXTS, salt)
    assert index.retrieve("What does a zero division error mean?", 2)[0].position == 0
    assert index.retrieve("Which status is 404?", 2)[0].position == 2


def test_salting_changes_no_score():
    plain, salted = LexicalIndex.from_texts(TEXTS), LexicalIndex.from_texts(TEXTS, b"salt")
    assert np.allclose(plain.scores("key not found"), salted.scores("key not found"))


def test_a_question_of_unknown_words_retrieves_nothing():
    assert LexicalIndex.from_texts(TEXTS).retrieve("quux frobnicate", 3) == []


@pytest.mark.parametrize("texts", [[], ["", "the of a"]])
def test_texts_without_words_score_zero(texts):
    assert LexicalIndex.from_texts(texts).scores("anything").tolist() == [0.0] * len(texts)


def test_words_that_few_texts_hold_weigh_more_and_an_unknown_one_most():
    index = LexicalIndex.from_texts([*TEXTS, "not here", "not there"])
    known, unknown = index.weights("Is a division not a frobnicate?")
    assert known.keys() == {"division", "not"}
    assert 0 < known["not"] < known["division"] < unknown
    assert index.weights("a division")[1] == 0
