"""The checking child over real uploads."""

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from datanets.checks import ChecksStopped, check_upload, malware
from datanets.checks.first_pass import spot_key
from datanets.checks.sandbox import LIMITS
from datanets.parsing import parse_upload

GERMAN = "Der Fluss entspringt in den Bergen und fließt durch das Tal bis hinunter zum Meer."
ENGLISH = "The river number {} rises in the hills and runs through the valley down to sea {}."


@pytest.fixture
def check(tmp_path: Path):
    def run(rows, decisions=None, **options):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with (
            parse_upload(path, "rows.jsonl") as parsed,
            check_upload(parsed, decisions, **options) as checked,
        ):
            return list(checked.rows())

    return run


def asked(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


def labels(rows) -> list[list[tuple[str, int | None]]]:
    return [[(one.rule, one.match) for one in row.findings] for row in rows]


def test_copies_and_contradictions_within_an_upload_name_the_earlier_row(check):
    answer = "The key that was asked for is not in the mapping at hand."
    rows = check(
        [
            asked("What does KeyError mean?", answer),
            asked("what does  keyerror mean", answer),
            asked("What does a KeyError mean?", answer),
            asked("What does KeyError mean?", "A door is locked."),
        ]
    )
    assert labels(rows) == [
        [],
        [("duplicate", 1)],
        [("near_duplicate", 1)],
        [("same_question", 1)],
    ]
    near = rows[2].findings[0]
    assert near.threshold <= near.measured < 1


def test_a_row_in_another_language_than_most_is_labelled(check):
    words = [chr(97 + at) * 3 for at in range(24)]
    rows = [asked("Where?", ENGLISH.format(word, word)) for word in words]
    found = check([*rows, asked("Wo?", GERMAN)])
    assert [one.rule for one in found[-1].findings] == ["other_language"]
    assert not any(one.rule == "other_language" for row in found[:-1] for one in row.findings)


PRIVATE = [
    asked("Who helps?", "Write to jane.doe@acme.com or call +49 30 901820."),
    asked("Who else?", "Ask at the desk."),
]


def test_personal_data_waits_for_a_decision_with_its_place_and_a_mask(check):
    row, other = check(PRIVATE)
    assert [(one["kind"], one["column"], one["start"]) for one in row.personal_data] == [
        ("EMAIL_ADDRESS", "response", 9),
        ("PHONE_NUMBER", "response", 35),
    ]
    assert not any("jane.doe" in one["masked"] for one in row.personal_data)
    assert other.personal_data == ()


def test_decisions_redact_keep_and_drop(check):
    mail = spot_key(1, "response", 9, "EMAIL_ADDRESS")
    phone = spot_key(1, "response", 35, "PHONE_NUMBER")
    row, _ = check(PRIVATE, {mail: "redact", phone: "keep"})
    assert row.row.response == "Write to [EMAIL] or call +49 30 901820."
    assert [one.rule for one in row.findings] == ["personal_data"]
    assert row.personal_data == ()
    dropped, other = check(PRIVATE, {mail: "redact", phone: "drop"})
    assert dropped.row is None
    assert other.row is not None


def test_digits_broken_over_lines_do_not_stop_the_child(check):
    """JSON hides the breaks, the patterns see them: the recognisers must be loaded in time."""
    (row,) = check([asked("Which?", "1\n2\t3\n4\n5")])
    assert row.row.response == "1\n2\t3\n4\n5"


def test_many_and_long_rows_need_no_thread(check):
    """rensa starts threads for large work; the locked child may not, and would be aborted."""
    words = " ".join(f"word{at}" for at in range(3_000))
    rows = [asked(f"Which is number {at}?", f"{words} {at}") for at in range(60)]
    rows += [asked(f"Which is number {at} of the short?", str(at)) for at in range(1_500)]
    assert len(check(rows)) == 1_560


def test_conversations_and_wordings_are_searched_too(check):
    turns = [
        {"role": "user", "content": "Who am I?"},
        {"role": "assistant", "content": "jane.doe@acme.com"},
    ]
    (row,) = check([{"messages": turns}])
    assert row.personal_data[0]["column"] == "messages 2"
    wording = {**asked("Who?", "Me."), "wordings": ["Is it jane.doe@acme.com?"]}
    (row,) = check([wording])
    assert row.personal_data[0]["column"] == "wordings 1"


def test_checks_that_take_too_long_stop_with_a_plain_word(check):
    with pytest.raises(ChecksStopped) as stopped:
        check(PRIVATE, limits=replace(LIMITS, wall_seconds=0.05))
    assert stopped.value.too_slow


def test_a_file_is_not_scanned_for_malware_without_a_scanner(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"harmless")
    assert malware.scan_file(path, "").state == "not_scanned"
    assert malware.scan_file(path, str(tmp_path / "nobody.sock")).state == "not_scanned"


@pytest.mark.parametrize(
    ("answer", "state", "name"),
    [
        (b"stream: OK\0", "clean", ""),
        (b"stream: Eicar-Test-Signature FOUND\0", "found", "Eicar-Test-Signature"),
        (b"INSTREAM size limit exceeded. ERROR\0", "not_scanned", "the scanner refused the file"),
    ],
)
def test_a_scanner_is_asked_over_its_socket(tmp_path, answer, state, name):
    """The far side speaks clamd's protocol: command, chunks with lengths, an empty chunk."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3_000_000))
    received = bytearray()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "clamd.sock"))
    server.listen(1)

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as stream:
            assert stream.read(10) == b"zINSTREAM\0"
            while size := int.from_bytes(stream.read(4), "big"):
                received.extend(stream.read(size))
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    scan = malware.scan_file(path, str(tmp_path / "clamd.sock"))
    thread.join(timeout=10)
    server.close()
    assert (scan.state, scan.name) == (state, name)
    assert bytes(received) == path.read_bytes()
