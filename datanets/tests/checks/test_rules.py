"""Each rule with a row that breaks it and one that must pass; rows are examples of our own."""

from __future__ import annotations

import random

import pytest

from datanets.checks import RULES, text_rules
from datanets.checks.first_pass import row_findings
from datanets.checks.rows import content_of_row
from datanets.content import whole_text
from datanets.parsing import Message, Row

PROSE = (
    "The river rises in the hills and runs to the sea. It turns twice before the old bridge, and"
    " there the water is slow. People have fished here for as long as anybody can say, with nets"
    " that their families made. In spring the banks flood, and nobody builds on the low meadow."
)


def rules_of(row: Row, language: str = "") -> set[str]:
    return {one.rule for one in row_findings(row, whole_text(content_of_row(row)), language)}


def answered(question: str, answer: str) -> Row:
    return Row(kind="instruction", number=1, instruction=question, response=answer)


def chat(*turns: tuple[str, str]) -> Row:
    messages = tuple(Message(role, content) for role, content in turns)
    return Row(kind="chat", number=1, messages=messages)


def text(content: str) -> Row:
    return Row(kind="text", number=1, text=content)


@pytest.mark.parametrize(
    "row",
    [
        answered("What is 2 + 2?", "4"),
        answered("How many legs has a spider?", "Eight"),
        answered("What does KeyError mean?", "Mapping key not found."),
        answered("Reverse a list in Python", "```python\nitems[::-1]\n```"),
        answered("List three fruits.", "- apple\n- pear\n- plum"),
        answered("Wie heißt der Fluss?", "Er heißt Isar."),
        chat(("system", "Be brief."), ("user", "Why?"), ("assistant", "Because it is so.")),
        text(PROSE),
    ],
)
def test_a_good_row_has_no_label(row):
    assert rules_of(row, "en" if row.kind == "text" else "") == set()


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (answered("Why?", "..."), "empty_answer"),
        (answered("Which?", "N/A"), "empty_answer"),
        (answered("Why does bread rise?", "Yeast"), "short_answer"),
        (answered("What is the capital of France?", "The capital of France"), "repeats_question"),
        (answered("Who won?", "As an AI language model, I have no opinion."), "refusal"),
        (answered("Who won?", "I'm sorry, but I can't help with that."), "refusal"),
        (answered("Tell me of the river.", f"{PROSE} And then the old"), "truncated_answer"),
        (answered("Write it.", PROSE + "\n```python\nprint(1)"), "truncated_answer"),
        (answered("Tell me.", "word " * 4_000), "long_row"),
        (answered("Who?", "You deserve to die."), "toxic_words"),
        (
            Row(kind="preference", number=1, instruction="Why?", response="A b", rejected="a  B"),
            "equal_pair",
        ),
        (chat(("user", "Why?"), ("user", "Why?"), ("assistant", "So.")), "role_order"),
        (chat(("user", "Why?"), ("assistant", "So."), ("user", "Thanks")), "role_order"),
        (text("a b c d " * 10), "word_length"),
        (text("abcdefghijklmnop qrstuvwxyzabcd " * 10), "word_length"),
        (text("the # sign " * 10), "symbols"),
        (text("12 + 34 = 46 and " * 8), "few_letters"),
        (text(f"{PROSE} Lorem ipsum dolor."), "lorem_ipsum"),
        (text(f"{PROSE} Please enable JavaScript."), "web_notice"),
        (text("again and again " * 10), "repeated_phrase"),
        (text("\n".join([PROSE] * 6)), "repeated_lines"),
        (text("\n".join([PROSE] * 2)), "repeated_passages"),
        (text("\n".join(f"- item number {at} of the list" for at in range(9))), "bullet_lines"),
        (text("\n".join(f"and then line {at} trails off..." for at in range(9))), "ellipsis_lines"),
        (text("\n".join(f"line number {at} has no stop" for at in range(9))), "unfinished_lines"),
        (text("\n".join(f"Short line {at}." for at in range(9))), "short_lines"),
        (text("\n".join(f"Line {at}." for at in range(12))), "many_lines"),
    ],
)
def test_a_row_that_breaks_a_rule_carries_its_label(row, rule):
    assert rule in rules_of(row)


def test_stop_words_are_asked_of_english_prose_only():
    listed = text(" ".join(f"word{at} thing{at}" for at in range(40)))
    assert "stop_words" in rules_of(listed, "en")
    assert "stop_words" not in rules_of(listed, "de")
    assert "stop_words" not in rules_of(listed)


def test_every_finding_gives_its_number_its_threshold_and_a_sentence_without_the_row():
    row = text("again and again xylophone " * 10)
    for finding in row_findings(row, row.text):
        assert finding.rule in RULES
        assert finding.measured is not None
        assert finding.threshold is not None
        assert "xylophone" not in finding.sentence


def test_what_spares_the_counting_never_changes_what_is_found(monkeypatch):
    """Hashes and word counts decide only whether repetition is counted at all."""
    drawn = random.Random(7)
    texts = []
    for _ in range(400):
        vocabulary = ["ab" * drawn.randint(1, 6) + str(n) for n in range(drawn.randint(2, 80))]
        words = drawn.choices(vocabulary, k=drawn.randint(20, 200))
        at = drawn.randrange(len(words))
        texts.append(words + words[at : at + drawn.randint(0, 30)])
    quick = [list(text_rules._repetition(words)) for words in texts]
    monkeypatch.setattr(text_rules, "_may_have_top_phrase", lambda *_: True)
    monkeypatch.setattr(text_rules, "_may_repeat_passages", lambda *_: True)
    assert quick == [list(text_rules._repetition(words)) for words in texts]
    assert 20 < sum(map(bool, quick)) < 380
