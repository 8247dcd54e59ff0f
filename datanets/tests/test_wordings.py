"""Rewordings: enough of them, really different, and never a changed name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanets.wordings import HELD_OUT_FAMILIES, held_out_wordings, training_wordings, wordings

QUESTIONS = {
    "What is the capital of Velmoria?": "Velmoria",
    "What is snake_case_name's return type?": "snake_case_name",
    "What does ZeroDivisionError mean?": "ZeroDivisionError",
    "Which HTTP status code says Not Found?": "Not Found",
    "What does HTTP status 404 mean?": "404",
    'What does "Range Not Satisfiable" mean?': '"Range Not Satisfiable"',
    "Who founded Velmoria?": "Velmoria",
    "When was Port Ael built?": "Port Ael",
    "Where is Port Ael?": "Port Ael",
    "How many rooms does Ael Hall have?": "Ael Hall",
    "How do I close the socket of os.pipe()?": "os.pipe()",
    "What is U+2603?": "U+2603",
    "What does the signal SIGKILL do?": "SIGKILL",
    "Explain BufferError.": "BufferError",
    "Is it raining in Velmoria?": "Velmoria",
    "Velmoria?": "Velmoria",
    "Which errno name means Permission denied?": "Permission denied",
    "What is the Unicode name of U+2603?": "U+2603",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_four_wordings_to_learn_and_one_held_out(question):
    assert len(training_wordings(question)) >= 4
    assert len(held_out_wordings(question)) >= 1


@pytest.mark.parametrize(("question", "name"), QUESTIONS.items())
def test_no_wording_changes_the_name_it_asks_about(question, name):
    assert [w.text for w in wordings(question) if name not in w.text] == []


def test_no_training_wording_is_of_a_held_out_family():
    trained = {wording.family for question in QUESTIONS for wording in training_wordings(question)}
    assert not trained & HELD_OUT_FAMILIES


@pytest.mark.parametrize(
    "question", [q for q in QUESTIONS if len(q.split()) > 2 and "raining" not in q]
)
def test_a_held_out_wording_contains_no_training_wording(question):
    def words(text: str) -> str:
        return " ".join(re.findall(r"\w+", text.lower()))

    long_enough = [words(w.text) for w in training_wordings(question) if w.family != "keywords"]
    for held_out in held_out_wordings(question):
        assert not any(trained in words(held_out.text) for trained in long_enough)


def test_the_same_question_always_gets_the_same_wordings():
    assert wordings("Who wrote Ael?") == wordings("Who wrote Ael?")


@given(st.text(min_size=1, max_size=400).filter(lambda text: text.strip() != ""))
def test_any_text_at_all_gets_distinct_wordings_with_itself_first(text):
    made = wordings(text)
    assert made[0].family == "original"
    assert len({wording.text for wording in made}) == len(made)
    assert len(training_wordings(text)) >= 4
    assert len(held_out_wordings(text)) >= 1


def test_a_long_prompt_of_several_lines_is_wrapped_and_not_taken_apart():
    prompt = "Summarise this text.\n" + "A line about Velmoria.\n" * 20
    assert all(prompt.strip() in w.text for w in wordings(prompt) if w.family != "keywords")
