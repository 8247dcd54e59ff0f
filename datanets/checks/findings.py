"""What a check says: a rule, a number, a threshold, a sentence. And the list of all rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Sources of the text rules, as their authors name them; the thresholds are those of `datatrove`.
GOPHER = "Gopher (Rae et al. 2021, A.1)"
C4 = "C4 (Raffel et al. 2020)"
FINEWEB = "FineWeb (Penedo et al. 2024)"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as people see it: a short title for the label, one line that explains it."""

    title: str
    explanation: str
    source: str = "Ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that one rule noticed in one row.

    `measured` crossed `threshold`. `column` names the field of the row, `start` and `end` count
    its characters. `match` is the position, from 1, of the row of the same upload that this one
    is like. `sentence` never quotes the row.
    """

    rule: str
    sentence: str
    measured: float | None = None
    threshold: float | None = None
    column: str = ""
    start: int | None = None
    end: int | None = None
    match: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Without the fields that say nothing."""
        pairs = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in pairs if value not in (None, "")}


PERSONAL_DATA_KINDS = {
    "EMAIL_ADDRESS": "e-mail address",
    "PHONE_NUMBER": "phone number",
    "CREDIT_CARD": "payment card number",
    "IBAN_CODE": "bank account number (IBAN)",
    "IP_ADDRESS": "public IP address",
    "US_SSN": "US social security number",
}

RULES = {
    "malware": Rule("Malware in its file", "The scanner knows the file as malware.", "ClamAV"),
    "duplicate": Rule("Duplicate", "The same row again, but for case, spaces and a final stop."),
    "near_duplicate": Rule(
        "Nearly a duplicate", "Shares most of its words and word pairs with an earlier row."
    ),
    "duplicate_elsewhere": Rule("Given elsewhere", "The same row is in another public Datanet."),
    "near_duplicate_elsewhere": Rule(
        "Nearly given elsewhere", "Shares most of its words with a row of another public Datanet."
    ),
    "held_out": Rule(
        "Like a held-out row",
        "Training on it would spoil the measure: its question, or the row, is held out.",
    ),
    "same_question": Rule(
        "Same question, other answer", "An earlier row answers the same question differently."
    ),
    "personal_data": Rule(
        "Personal data kept", "Its contributor was asked and kept it, with a reason."
    ),
    "other_language": Rule(
        "Another language", "Not in the language of most rows of its contribution.", "py3langid"
    ),
    "toxic_words": Rule(
        "Words from the list of abuse", "Holds words or threats from our short English list."
    ),
    "empty_answer": Rule("Answer without content", "No letter or digit, or only a placeholder."),
    "short_answer": Rule(
        "Very short answer", "The question asks why or how; a word or two seldom answers that."
    ),
    "repeats_question": Rule(
        "Answer repeats the question", "Most of its words are the question's."
    ),
    "refusal": Rule("Refusal", "Reads like an assistant's refusal, not like knowledge."),
    "truncated_answer": Rule("Answer cut off", "Long, and stops in the middle of a sentence."),
    "equal_pair": Rule("Preferred and worse are equal", "Nothing can be learnt from such a pair."),
    "role_order": Rule("Turns out of order", "User and assistant do not take turns."),
    "long_row": Rule("Very long", "More text than small models read at once; the rest is cut."),
    "word_length": Rule("Unusual words", "Mean length of words is outside 3 to 10.", GOPHER),
    "symbols": Rule("Many symbols", "Too many # or ellipses for its words.", GOPHER),
    "few_letters": Rule("Few words with letters", "Fewer than 80% of words hold a letter.", GOPHER),
    "bullet_lines": Rule("Mostly bullets", "More than 90% of lines are bullets.", GOPHER),
    "ellipsis_lines": Rule(
        "Lines that trail off", "More than 30% of lines end in an ellipsis.", GOPHER
    ),
    "stop_words": Rule("Not like prose", "Fewer than 2 of 8 common English words.", GOPHER),
    "repeated_lines": Rule("Repeated lines", "More than 30% of lines repeat others.", GOPHER),
    "repeated_phrase": Rule(
        "Repeated phrase", "One phrase of 2 to 4 words makes up too much of the text.", GOPHER
    ),
    "repeated_passages": Rule(
        "Repeated passages", "Phrases of 5 to 10 words that repeat take too much text.", GOPHER
    ),
    "lorem_ipsum": Rule("Placeholder text", "Holds “lorem ipsum”.", C4),
    "web_notice": Rule("Web page left-over", "Holds a cookie, policy or JavaScript notice.", C4),
    "unfinished_lines": Rule(
        "Lines without punctuation", "Fewer than 12% of lines end in punctuation.", FINEWEB
    ),
    "short_lines": Rule("Mostly short lines", "More than 67% of lines are short.", FINEWEB),
    "many_lines": Rule("Broken into lines", "More than 0.3 line breaks a word.", FINEWEB),
}
