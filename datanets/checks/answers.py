"""Checks that only rows to learn an answer from need: what the answer is, and to what."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from datanets.checks.findings import Finding
from datanets.parsing.result import Row

REPEATS_SHARE = 0.9
SHORT_ANSWER_WORDS = 3
TRUNCATED_WORDS_MIN = 40
LONG_CHARACTERS = 16_000
"""About 4,000 tokens of English at four characters each."""
REFUSAL_CHARACTERS = 600
"""Refusals are looked for in the first this many."""
HEAD_CHARACTERS = 400
"""The words of these say of most long answers all that is asked of their words."""

_WORD = re.compile(r"\w+")
_PLACEHOLDER = re.compile(
    r"(?:n/?a|none|null|nil|nan|todo|tbd|tba|xxx+|test|answer|placeholder)\W*"
)
PLACEHOLDER_WORDS_MAX = 2
_ASKS_WHY = re.compile(
    r"^\W*(?:why|how (?!many|much|old|long|far|tall|big|often)|explain|describe)\b"
)
_REFUSAL = re.compile(
    r"\bas an ai(?: language)? (?:model|assistant)\b"
    r"|\bi(?:'m| am) (?:just |only )?an ai(?: language)? (?:model|assistant)\b"
    r"|^\W*(?:i(?:'m| am) sorry|sorry|i apologi[sz]e|unfortunately)\b.{0,40}?"
    r"\bi (?:can(?:'t|not)|am (?:unable|not able)|do(?:n't| not) have)\b"
    r"|^\W*i (?:can(?:'t|not)|am unable to) (?:assist|help|provide|fulfil|comply|answer)\b"
)
# Every refusal holds one of these; a search for each is ten times as fast as the pattern.
_REFUSAL_SIGNS = ("an ai", "sorry", "i apologi", "unfortunately", "i can", "i am unable")
_ENDS_WELL = re.compile(r"""[.!?…:;。！？।؟)\]}"'”’»*_`|>~=-]\s*$""")  # noqa: RUF001 (full-width stops)
_SENTENCE_END = re.compile(r"[.!?…。！？।؟]")  # noqa: RUF001 (full-width stops)
_LIST_LINE = re.compile(r"^\s*(?:[-*•+#|>]|\d+[.)])")


def answer_findings(row: Row) -> Iterator[Finding]:
    """Findings about question and answer; about the turns of a conversation; nothing for text."""
    if row.kind == "text":
        return
    if row.kind == "chat":
        yield from _turns(row)
        question = next((turn.content for turn in row.messages if turn.role == "user"), "")
        answer = next((turn.content for turn in row.messages if turn.role == "assistant"), "")
    else:
        question, answer = row.instruction, row.response
    if row.kind == "preference" and _plain(row.response) == _plain(row.rejected):
        yield Finding(rule="equal_pair", sentence="Both answers are the same.")
    head = answer[:HEAD_CHARACTERS].lower()
    words = _WORD.findall(head)
    if whole := len(answer) <= HEAD_CHARACTERS or len(words) < TRUNCATED_WORDS_MIN:
        words = _WORD.findall(answer.lower())
    if not words or (
        len(words) <= PLACEHOLDER_WORDS_MAX and _PLACEHOLDER.fullmatch(answer.strip().lower())
    ):
        yield Finding(
            rule="empty_answer",
            sentence="The answer says nothing: no letter or digit, or a placeholder.",
            measured=len(words),
            threshold=1,
            column="response",
        )
        return
    yield from _about(question, answer, words, whole=whole)


def _about(question: str, answer: str, words: list[str], *, whole: bool) -> Iterator[Finding]:
    """`words` are those of the whole answer, or of its head when there are enough in it."""
    if len(words) < SHORT_ANSWER_WORDS and _ASKS_WHY.match(question.lower()):
        yield Finding(
            rule="short_answer",
            sentence="The question asks why or how; the answer has hardly any words.",
            measured=len(words),
            threshold=SHORT_ANSWER_WORDS,
            column="response",
        )
    yield from _repeats(question, answer, words, whole=whole)
    refusals = _refusals(answer[:REFUSAL_CHARACTERS].lower())
    if refusals:
        yield Finding(
            rule="refusal",
            sentence="Reads like an assistant that refuses or speaks about itself.",
            measured=refusals,
            threshold=1,
            column="response",
        )
    if len(words) >= TRUNCATED_WORDS_MIN and _cut_off(answer):
        tail = len(_WORD.findall(_SENTENCE_END.split(answer)[-1]))
        yield Finding(
            rule="truncated_answer",
            sentence=f"The answer stops {tail} words into a sentence.",
            measured=tail,
            threshold=1,
            column="response",
        )
    if len(question) + len(answer) > LONG_CHARACTERS:
        yield Finding(
            rule="long_row",
            sentence="Question and answer together are longer than small models read at once.",
            measured=len(question) + len(answer),
            threshold=LONG_CHARACTERS,
        )


def _refusals(head: str) -> int:
    head = head.replace("’", "'")  # noqa: RUF001 (curly)
    if not any(sign in head for sign in _REFUSAL_SIGNS):
        return 0
    return len(_REFUSAL.findall(head))


def _repeats(question: str, answer: str, words: list[str], *, whole: bool) -> Iterator[Finding]:
    given = set(words)
    # The last word of the head may be cut; the others are words of the answer, too.
    surely = REPEATS_SHARE * (len(given) - 1) - 1
    if (len(question) + 1) // 2 < surely:
        return
    asked = set(_WORD.findall(question.lower()))
    if len(asked) < surely:
        return
    if not whole:
        given = set(_WORD.findall(answer.lower()))
    if len(given) < 3:
        return
    share = len(given & asked) / len(given)
    if share >= REPEATS_SHARE:
        yield Finding(
            rule="repeats_question",
            sentence=f"{int(100 * share)}% of the words of the answer are those of the question.",
            measured=round(share, 4),
            threshold=REPEATS_SHARE,
            column="response",
        )


def _turns(row: Row) -> Iterator[Finding]:
    spoken = [turn.role for turn in row.messages if turn.role in ("user", "assistant")]
    repeats = sum(one == other for one, other in itertools.pairwise(spoken))
    repeats += bool(spoken) and spoken[0] != "user"
    repeats += bool(spoken) and spoken[-1] != "assistant"
    if repeats:
        yield Finding(
            rule="role_order",
            sentence="User and assistant do not take turns from a question to an answer.",
            measured=repeats,
            threshold=1,
        )


def _cut_off(answer: str) -> bool:
    """In mid-sentence, or inside a fence of code; a list or a table may end as it likes."""
    fenced = "`" in answer and "```" in answer  # looking for one character takes no time
    if fenced and answer.count("```") % 2:
        return True
    last_line = answer.rstrip().rpartition("\n")[2]
    if _ENDS_WELL.search(last_line[-1:]) or _LIST_LINE.match(last_line):
        return False
    return _SENTENCE_END.search(answer) is not None and not fenced


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
