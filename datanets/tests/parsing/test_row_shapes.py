"""What columns mean: every shape people send comes out in the one normal form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datanets.parsing import Limits, Message, Row
from datanets.parsing.result import BadValueError
from datanets.parsing.shapes import Normaliser, recognise
from datanets.tests.parsing.conftest import Parse, rows_of
from datanets.tests.parsing.hostile_files import parquet_of

TALK = (Message("user", "hi"), Message("assistant", "hello"))


def normal(raw: Any) -> Row:
    return Normaliser(Limits()).row(raw, 1, "")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("instruction", "response"), ("question", "answer"), ("prompt", "completion"),
     ("input", "output"), ("Question ", "ANSWER"), ("user", "assistant")],
)  # fmt: skip
def test_question_and_answer_by_any_usual_name(asked: str, answered: str) -> None:
    row = normal({asked: "what?", answered: "that", "id": 7})
    assert (row.kind, row.instruction, row.response) == ("instruction", "what?", "that")


def test_alpaca_joins_instruction_and_input() -> None:
    row = normal({"instruction": "Translate.", "input": "chat", "output": "cat"})
    assert (row.instruction, row.response) == ("Translate.\n\nchat", "cat")


def test_alpaca_without_input_is_the_instruction_alone() -> None:
    assert normal({"instruction": "Go.", "input": "", "output": "gone"}).instruction == "Go."


@pytest.mark.parametrize(
    "raw",
    [
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
            ]
        },
        {"messages": '[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]'},
    ],
)
def test_sharegpt_and_openai_messages_become_chat(raw: dict[str, Any]) -> None:
    assert normal(raw) == Row(kind="chat", number=1, messages=TALK)


def test_preference_pairs_keep_both_answers() -> None:
    row = normal({"prompt": "p", "chosen": "good", "rejected": "bad"})
    assert (row.kind, row.instruction, row.response, row.rejected) == (
        "preference", "p", "good", "bad"
    )  # fmt: skip


def test_preference_pairs_may_be_whole_conversations() -> None:
    asked = {"role": "user", "content": "p"}
    chosen, rejected = (
        [asked, {"role": "assistant", "content": answer}] for answer in ("good", "bad")
    )
    row = normal({"chosen": chosen, "rejected": rejected})
    assert (row.instruction, row.response, row.rejected) == ("p", "good", "bad")


@pytest.mark.parametrize(
    "cell", ["who? | which? | who?", ["who?", "which?", ""], '["who?","which?"]']
)
def test_extra_wordings_come_as_a_list_or_parted_by_bars(cell: Any) -> None:
    for column in ("wordings", "also_asked_as", "Also asked as"):
        row = normal({"question": "q", "answer": "a", column: cell})
        assert row.extra_wordings == ("who?", "which?")


@pytest.mark.parametrize(
    "columns",
    [("a", "b"), ("question",), ("question", "prompt", "answer"), ("answer",), ("text", "answer")],
)
def test_columns_that_leave_a_doubt_are_not_guessed(columns: tuple[str, ...]) -> None:
    assert recognise(columns) is None


@pytest.mark.parametrize(
    ("raw", "column", "cause"),
    [
        ({"question": "", "answer": "a"}, "question", "empty"),
        ({"question": "q", "answer": None}, "answer", "empty"),
        ({"question": "q", "answer": ["a"]}, "answer", "a list"),
        ({"question": "q", "answer": True}, "answer", "true or false"),
        ({"question": "q", "answer": float("nan")}, "answer", "nan"),
        ({"question": "q", "answer": "x" * 300_000}, "answer", "300,000"),
        ({"question": "q\x00", "answer": "a"}, "question", "NUL"),
        ({"question": "q\ud800", "answer": "a"}, "question", "surrogate"),
        ({"prompt": "p", "chosen": "same", "rejected": "same"}, "rejected", "equals"),
        ({"messages": []}, "messages", "list of messages"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "messages", "both speak"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages", "message 1"),
        ({"question": "q", "answer": "a", "wordings": 7}, "wordings", "a number"),
        (["q", "a"], "", "a list"),
    ],
)
def test_a_row_that_cannot_be_used_names_column_and_cause(
    raw: Any, column: str, cause: str
) -> None:
    with pytest.raises(BadValueError) as caught:
        normal(raw)
    assert caught.value.column == column
    assert cause in caught.value.cause
    assert caught.value.remedy


def test_numbers_are_taken_as_texts() -> None:
    assert normal({"question": "2+2", "answer": 4}).response == "4"


def test_unknown_columns_ask_for_a_mapping_with_names_and_samples(parse: Parse) -> None:
    result = parse("a.csv", b"frage,antwort,id\nwas?,das,1\nwer?,sie,2\n")
    assert result.status == "needs_mapping"
    assert result.needs_mapping is not None
    assert result.needs_mapping.columns == ("frage", "antwort", "id")
    assert result.needs_mapping.sample[0] == {"frage": "was?", "antwort": "das", "id": "1"}
    assert list(result.rows()) == []


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_mapping_answers_the_question(parse: Parse, name: str) -> None:
    content = {
        "a.csv": b"frage,antwort\nwas?,das\n",
        "a.jsonl": b'{"frage": "was?", "antwort": "das"}',
        "a.parquet": parquet_of({"frage": ["was?"], "antwort": ["das"]}),
    }[name]
    result = parse(name, content, {"instruction": "frage", "response": "antwort"})
    assert [(row.instruction, row.response) for row in rows_of(result)] == [("was?", "das")]


def test_a_mapping_with_an_unknown_role_is_a_fault_of_the_caller(parse: Parse) -> None:
    with pytest.raises(ValueError, match="haiku"):
        parse("a.csv", b"a,b\n1,2\n", {"haiku": "a"})


def test_parquet_with_lists_of_messages_is_chat(parse: Parse) -> None:
    messages = [{"role": turn.role, "content": turn.content} for turn in TALK]
    result = parse("a.parquet", parquet_of({"messages": [messages], "n": [1]}))
    assert rows_of(result)[0].messages == TALK
    assert result.ignored_columns == ("n",)


def test_parquet_without_known_columns_names_them_all(parse: Parse) -> None:
    result = parse("a.parquet", parquet_of({"x": ["1"], "y": [b"\xff"], "z": [None]}))
    assert result.needs_mapping is not None
    assert result.needs_mapping.columns == ("x", "y", "z")


def test_text_is_cut_into_paragraphs_and_long_ones_at_sentence_ends(parse: Parse) -> None:
    long = "A sentence of words. " * 30
    result = parse("a.md", f"# One\ntwo\n\n\n{long}".encode(), chunk_characters=100)
    texts = [row.text for row in rows_of(result)]
    assert texts[0] == "# One\ntwo"
    assert all(len(text) <= 100 and text.endswith("words.") for text in texts[1:])
    assert " ".join(texts[1:]) == long.strip()


def test_good_and_bad_rows_of_one_file_are_told_apart(parse: Parse) -> None:
    lines = [
        '{"question": "q", "answer": "a"}',
        '{"question": "q", "answer": NaN}',
        '{"question": "q", "answer": 1e999}',
        '{"question": "q", "question": "r", "answer": "a"}',
        '{"question": "q", "answer": ' + "9" * 500 + "}",
        '{"question": "q", "answer": "\\ud800"}',
        '{"question": "q", "answer": "\\u0000"}',
        '{"question": "q", "answer": "a"',
        '{"question": ' + "[" * 100 + "]" * 100 + ', "answer": "a"}',
        '"only a text"',
        '{"\\ud800": 1}',
    ]
    result = parse("a.jsonl", "\n".join(lines).encode())
    causes = ["NaN", "too large", "twice", "500 characters", "surrogate", "NUL", "not valid JSON",
              "deeper than 64", "a text", "surrogate"]  # fmt: skip
    assert len(rows_of(result)) == 1
    assert [bad.row for bad in result.bad_rows] == list(range(2, 12))
    for bad, cause in zip(result.bad_rows, causes, strict=True):
        assert cause in bad.cause


def test_bad_csv_rows_name_their_line(parse: Parse) -> None:
    result = parse("a.csv", b'question,answer\n"two\nlines",a\nq\nq,a,b\nq,"a"x\nq,a\n')
    assert [row.number for row in rows_of(result)] == [1, 5]
    assert ["line 4" in result.bad_rows[0].cause, "line 5" in result.bad_rows[1].cause,
            "line 6" in result.bad_rows[2].cause] == [True] * 3  # fmt: skip


def test_the_list_of_bad_rows_is_bounded_and_their_number_is_not(parse: Parse) -> None:
    content = b'{"text": ""}\n' * 50 + b'{"text": "fine"}\n'
    result = parse("a.jsonl", content, bad_rows_listed=10)
    assert (result.rows_rejected, len(result.bad_rows)) == (50, 10)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"question\tanswer\nq\ta\n", "csv"),
        ("a.csv", b"question;answer\nq;a\n", "csv"),
        ("a.tsv", b"question\tanswer\nq\ta\n", "tsv"),
        ("a", b"question,answer\nq,a\n", "csv"),
        ("a.csv", b'{"question": "q", "answer": "a"}\n', "jsonl"),
        ("a.json", b'{"question": "q", "answer": "a"}\n{"question": "q", "answer": "a"}', "jsonl"),
        ("a.json", b'{\n "question": "q",\n "answer": "a"\n}\n', "json objects"),
        ("a.jsonl", b' [{"question": "q", "answer": "a"}]', "json"),
        ("a.txt", parquet_of({"question": ["q"], "answer": ["a"]}), "parquet"),
    ],
)
def test_content_and_name_together_find_the_format(
    parse: Parse, name: str, content: bytes, expected: str
) -> None:
    result = parse(name, content)
    assert (result.format, rows_of(result)[0].instruction) == (expected, "q")
    assert result.format_found_by in ("both", "the content", "the file name")


def test_the_error_envelope_carries_the_published_keys(parse: Parse) -> None:
    rejection = parse("a.csv", b"").rejection
    assert rejection is not None
    error = rejection.as_error()["error"]
    assert {"code", "message", "where", "limit"} <= set(error)
    assert json.dumps(error)
