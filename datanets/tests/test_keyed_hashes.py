"""Whoever has the database and not the setting cannot tell whether a guess of a private row is
right; whoever asks the site finds what was found before (decision 0050).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.urls import reverse
from psycopg import sql
from pytest_django.fixtures import Settings

from datanets.checks.duplicates import near_keys, stored_keys
from datanets.content import (
    Content,
    Leaf,
    content_hash,
    fingerprint,
    leaf_hash,
    prompt_fingerprint,
    row_fingerprint,
    short_key,
    whole_text,
)
from datanets.inclusion import check_inclusion
from datanets.models import (
    Contribution,
    Datanet,
    Membership,
    Record,
    RecordKey,
    Version,
)
from datanets.models.sealed import RowsUnreadable, _sealer_named, is_keyed, keyer_of
from datanets.selectors import content_of, record_cards
from datanets.services import (
    cut_version,
    inclusion_proof,
    review_all,
    seal_rows,
    withdraw_contribution,
)
from datanets.tests.conftest import Give, jsonl, make_datanet
from openledger_site.accounts.models import User

pytestmark = pytest.mark.django_db

LONG = "A mapping was asked for a key that it does not hold, so nothing can be given back."
NEARLY = "A mapping was asked for a key that it does not hold, so nothing can be handed back."
CHAT = [
    {"role": "user", "content": "And what does OSError mean?"},
    {"role": "assistant", "content": "The system could not do what it was asked to do."},
]
ROWS: list[dict[str, object]] = [
    {"question": "What does KeyError mean?", "answer": LONG},
    {"question": "What does the error number 4711 mean?", "answer": "The door is not closed."},
    {"messages": CHAT},
]
AGAIN: list[dict[str, object]] = [
    {"question": "what does keyerror mean", "answer": LONG},
    {"question": "What does a KeyError mean?", "answer": NEARLY},
    {"question": "What does KeyError mean?", "answer": "Look for the key yourself, please."},
    {"question": "KeyError means what?", "answer": "Something about mappings, that is for sure."},
    {"question": "Is anything of this known?", "answer": "No, nothing of it was said before now."},
]
FOUND = [["duplicate"], ["near_duplicate"], ["same_question"], ["held_out"], []]


@pytest.fixture(params=["public", "private"])
def home(request: Any, owner: User, contributor: User, stranger: User) -> Datanet:
    return _home(owner, contributor, stranger, request.param)


@pytest.fixture
def closed(owner: User, contributor: User, stranger: User) -> Datanet:
    return _home(owner, contributor, stranger, "private")


@pytest.fixture
def opened(owner: User, contributor: User, stranger: User) -> Datanet:
    return _home(owner, contributor, stranger, "public")


def _home(owner: User, contributor: User, stranger: User, visibility: str) -> Datanet:
    datanet = make_datanet(owner, "Errors", visibility)
    # What is held out hangs on this: no chance, or now and then a few rows would all fall out.
    at = 1 + (visibility == "private")
    Datanet.objects.filter(pk=datanet.pk).update(public_id=UUID(int=at))
    datanet.refresh_from_db()
    for person in (contributor, stranger):
        Membership.objects.create(datanet=datanet, user=person, role="contributor")
    return datanet


def fill(datanet: Datanet, contributor: User, owner: User, give: Give) -> Version:
    """Rows in a version: everything that is stored of a row is stored."""
    for lines in (ROWS[:2], ROWS[2:]):
        give(datanet, contributor, jsonl(lines))
    rows = Record.objects.filter(datanet=datanet)
    review_all(records=rows, datanet=datanet, reviewer=owner, verdict="approve")
    return cut_version(datanet=datanet, actor=owner, held_out_percent=30)


def from_before(datanet: Datanet) -> None:
    """As a Datanet's rows were stored before there were seals: it was public until now."""
    Datanet.objects.filter(pk=datanet.pk).update(visibility="private")
    datanet.refresh_from_db()


def whole_database() -> Iterator[str]:
    """Every row of every table as text: what a stolen dump says."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(name)))
            yield from (line for (line,) in cursor.fetchall())


def told_by_a_guess(guess: Content, wordings: list[str]) -> dict[str, str]:
    """What anybody computes of a text, as it would stand in a dump."""
    (bands,) = near_keys([whole_text(guess)])
    told = {
        "content hash": content_hash(guess),
        "fingerprint": row_fingerprint(guess),
        "prompt fingerprint": prompt_fingerprint(guess),
        **{f"band {at}": str(key) for at, key in enumerate(stored_keys(bands))},
    }
    for at, wording in enumerate(wordings):
        told[f"wording {at}"] = str(short_key(fingerprint(wording)))
    return told


def leaves_of_a_guess(guess: Content) -> list[str]:
    """Leaves of all versions that fit the guess, by ids and salts as they are stored."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT entry.leaf_hash, entry.split, record.public_id::text, record.salt,
                person.public_id::text, contribution.licence
            FROM datanets_versionrecord AS entry
            JOIN datanets_record AS record ON record.id = entry.record_id
            JOIN datanets_contribution AS contribution ON contribution.id = record.contribution_id
            JOIN accounts_user AS person ON person.id = contribution.contributor_id
        """)
        rows = cursor.fetchall()
    return [
        kept
        for kept, split, record, salt, person, licence in rows
        if kept
        == leaf_hash(
            Leaf(record, content_hash(guess), person, licence, split), bytes(salt)[-32:]
        ).hex()
    ]


def confirmed() -> set[str]:
    """By what of each row a right guess of it is confirmed."""
    said, found = "\n".join(whole_database()), set()
    for record in Record.objects.all():
        guess = content_of(record)
        told = told_by_a_guess(guess, record.wordings.get("held_out", []))
        found |= {name.split()[0] for name, value in told.items() if value in said}
        found |= {"leaf"} if leaves_of_a_guess(guess) else set()
    return found


def rules_of(contribution: Contribution) -> list[list[str]]:
    rows = contribution.records.order_by("position").prefetch_related("findings")
    return [sorted({finding.rule for finding in record.findings.all()}) for record in rows]


# What a stolen database says


def test_a_right_guess_of_a_public_row_is_confirmed_in_every_way(
    opened: Datanet, contributor: User, owner: User, give: Give
) -> None:
    """So that the next test says something."""
    fill(opened, contributor, owner, give)
    assert confirmed() == {"content", "fingerprint", "prompt", "band", "wording", "leaf"}


def test_a_right_guess_of_a_private_row_is_confirmed_by_nothing(
    closed: Datanet, contributor: User, owner: User, give: Give
) -> None:
    fill(closed, contributor, owner, give)
    give(closed, contributor, jsonl(AGAIN))
    assert confirmed() == set()


def test_the_same_row_is_stored_differently_in_two_private_datanets(
    closed: Datanet, owner: User, contributor: User, give: Give
) -> None:
    other = make_datanet(owner, "Others", "private")
    give(closed, contributor, jsonl(ROWS[:1]))
    give(other, owner, jsonl(ROWS[:1]))
    one, another = Record.objects.order_by("pk")
    for column in ("content_hash", "fingerprint", "prompt_fingerprint"):
        assert is_keyed(getattr(one, column))
        assert getattr(one, column) != getattr(another, column)
    keys = [set(record.keys.values_list("key", flat=True)) for record in (one, another)]
    assert not keys[0] & keys[1]
    assert len(keys[0]) == len(keys[1]) > 12


def test_nothing_keys_a_guess_without_the_setting(
    closed: Datanet, contributor: User, give: Give, settings: Settings
) -> None:
    give(closed, contributor, jsonl(ROWS))
    settings.DATA_KEYS = ["another secret"]
    with pytest.raises(RowsUnreadable):
        keyer_of(closed)


def test_a_receipt_names_a_private_row_by_its_keyed_hash(
    closed: Datanet, contributor: User, owner: User, give: Give
) -> None:
    fill(closed, contributor, owner, give)
    cards = record_cards(owner, Record.objects.values_list("public_id", flat=True))
    hashes = {card.content_hash for card in cards.values()}
    assert hashes == set(Record.objects.values_list("content_hash", flat=True))
    assert all(map(is_keyed, hashes))


# What the database refuses


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("fingerprint", "ab" * 32, "stored keyed"),
        ("prompt_fingerprint", "ab" * 32, "stored keyed"),
        ("salt", b"x" * 32, "stored sealed"),
    ],
)
def test_the_database_refuses_a_private_row_with_what_a_guess_would_confirm(
    closed: Datanet, contributor: User, give: Give, column: str, value: object, says: str
) -> None:
    give(closed, contributor, jsonl(ROWS))
    change = sql.SQL("UPDATE datanets_record SET {} = %s").format(sql.Identifier(column))
    with (
        pytest.raises(IntegrityError, match=says),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change, [value])


def test_the_database_refuses_a_new_private_row_under_a_plain_hash(
    closed: Datanet, contributor: User, give: Give
) -> None:
    give(closed, contributor, jsonl(ROWS[:1]))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE copied AS SELECT * FROM datanets_record")
        cursor.execute(
            "UPDATE copied SET id = id + 1000, public_id = gen_random_uuid(), position = 9"
        )
        cursor.execute("INSERT INTO datanets_record SELECT * FROM copied")
        cursor.execute(
            "UPDATE copied SET id = id + 1, public_id = gen_random_uuid(), position = 10,"
            " content_hash = repeat('ab', 32)"
        )
        with pytest.raises(IntegrityError, match="stored keyed"), transaction.atomic():
            cursor.execute("INSERT INTO datanets_record SELECT * FROM copied")


@pytest.mark.parametrize("kind", ["near", "held_out"])
def test_the_database_refuses_a_plain_key_of_a_private_row(
    closed: Datanet, opened: Datanet, contributor: User, give: Give, kind: str
) -> None:
    give(closed, contributor, jsonl(ROWS[:1]))
    give(opened, contributor, jsonl(ROWS[:1]))
    private, public = (Record.objects.get(datanet=datanet) for datanet in (closed, opened))
    RecordKey.objects.create(record=public, kind=kind, key=5)
    several = [RecordKey(record=record, kind=kind, key=6) for record in (public, private)]
    with pytest.raises(IntegrityError, match="stored keyed"), transaction.atomic():
        RecordKey.objects.bulk_create(several)


# What is found


def test_copies_and_wordings_are_found_whatever_is_stored(
    home: Datanet, contributor: User, stranger: User, owner: User, give: Give
) -> None:
    give(home, contributor, jsonl(ROWS))
    assert rules_of(give(home, stranger, jsonl(AGAIN))) == FOUND


def test_a_copy_of_a_row_that_a_version_holds_out_is_found(
    home: Datanet, contributor: User, stranger: User, owner: User, give: Give
) -> None:
    rows = [
        {"question": f"What does error {at} mean?", "answer": f"It is {at}."} for at in range(9)
    ]
    give(home, contributor, jsonl(rows))
    stored = Record.objects.filter(datanet=home)
    review_all(records=stored, datanet=home, reviewer=owner, verdict="approve")
    version = cut_version(datanet=home, actor=owner, held_out_percent=50)
    held = version.entries.filter(split="held_out").select_related("record")
    again = give(home, stranger, jsonl(rows)).records.filter(flags__contains="held_out")
    assert {row.instruction for row in again} == {entry.record.instruction for entry in held}
    assert held


def test_a_row_of_a_public_datanet_is_found_from_a_private_one_and_not_back(
    opened: Datanet, owner: User, contributor: User, stranger: User, give: Give
) -> None:
    private = make_datanet(owner, "Closed", "private")
    fill(opened, contributor, owner, give)
    assert rules_of(give(private, owner, jsonl(AGAIN)))[:2] == [
        ["duplicate_elsewhere"],
        ["near_duplicate", "near_duplicate_elsewhere"],
    ]
    alone = [{"question": "What is only in here?", "answer": "This sentence, and no other one."}]
    give(private, owner, jsonl(alone))
    Record.objects.filter(datanet=private).update(state="approved")
    assert rules_of(give(opened, stranger, jsonl(alone))) == [[]]


def test_the_same_is_found_before_and_after_rows_are_stored_anew(
    opened: Datanet, contributor: User, stranger: User, give: Give
) -> None:
    """A Datanet is closed and opened again; each time the command comes later."""
    give(opened, contributor, jsonl(ROWS))
    plain = _keys()
    for visibility in ("private", "private", "public", "public"):
        Datanet.objects.filter(pk=opened.pk).update(visibility=visibility)
        again = give(opened, stranger, jsonl(AGAIN))
        assert rules_of(again) == FOUND
        withdraw_contribution(contribution=again, actor=stranger)
        call_command("rotate_data_keys")
        again = give(opened, stranger, jsonl(AGAIN))
        assert rules_of(again) == FOUND
        withdraw_contribution(contribution=again, actor=stranger)
        assert (_keys() == plain) is (visibility == "public")


def _keys() -> list[tuple[Any, ...]]:
    hashes = ("content_hash", "fingerprint", "prompt_fingerprint")
    rows = Record.objects.exclude(state="withdrawn").order_by("pk")
    keys = RecordKey.objects.order_by("record", "kind", "key")
    return [*rows.values_list(*hashes), *keys.values_list("record", "kind", "key")]


def test_a_new_secret_of_the_operator_changes_no_stored_hash(
    closed: Datanet, contributor: User, stranger: User, give: Give, settings: Settings
) -> None:
    give(closed, contributor, jsonl(ROWS))
    before = _keys()
    settings.DATA_KEYS = ["a new secret of the operator", *settings.DATA_KEYS]
    call_command("rotate_data_keys")
    settings.DATA_KEYS = settings.DATA_KEYS[:1]
    _sealer_named.cache_clear()
    assert _keys() == before
    assert rules_of(give(closed, stranger, jsonl(AGAIN))) == FOUND


# Versions and proofs


def test_a_proof_of_a_private_row_is_checked_offline_by_the_plain_hash(
    closed: Datanet, contributor: User, owner: User, give: Give
) -> None:
    for entry in fill(closed, contributor, owner, give).entries.all():
        proof = json.loads(json.dumps(inclusion_proof(entry)))
        assert check_inclusion(proof) == []
        assert proof["leaf"]["content_hash"] == content_hash(content_of(entry.record))


def test_a_version_from_before_keeps_its_root_and_its_proofs(
    opened: Datanet, contributor: User, owner: User, give: Give
) -> None:
    version = fill(opened, contributor, owner, give)
    proofs = [inclusion_proof(entry) for entry in version.entries.all()]
    from_before(opened)
    call_command("rotate_data_keys")
    version = Version.objects.get(pk=version.pk)
    assert [inclusion_proof(entry) for entry in version.entries.all()] == proofs
    assert all(check_inclusion(json.loads(json.dumps(proof))) == [] for proof in proofs)
    later = cut_version(datanet=opened, actor=owner, held_out_percent=30)
    leaves = [set(one.entries.values_list("leaf_hash", "split")) for one in (version, later)]
    assert leaves[0] == leaves[1]


def test_a_version_cut_before_the_command_came_is_the_same(
    opened: Datanet, contributor: User, owner: User, give: Give
) -> None:
    version = fill(opened, contributor, owner, give)
    from_before(opened)
    give(opened, contributor, jsonl(AGAIN[-1:]))
    Record.objects.filter(state="pending").update(state="approved")
    later = cut_version(datanet=opened, actor=owner, held_out_percent=30)
    leaves = [set(one.entries.values_list("leaf_hash", flat=True)) for one in (version, later)]
    assert len(leaves[1] - leaves[0]) == 1
    for entry in later.entries.all():
        assert check_inclusion(json.loads(json.dumps(inclusion_proof(entry)))) == []


def test_the_place_of_a_leaf_says_nothing_of_its_row(
    closed: Datanet, contributor: User, owner: User, give: Give
) -> None:
    version = fill(closed, contributor, owner, give)
    rows = [entry.record for entry in version.entries.order_by("position")]
    assert rows == sorted(rows, key=lambda row: row.content_hash)
    assert all(is_keyed(row.content_hash) for row in rows)


def test_the_page_of_a_row_shows_both_hashes_while_its_text_is_there(
    closed: Datanet, contributor: User, owner: User, give: Give, as_user: Any
) -> None:
    contribution = give(closed, contributor, jsonl(ROWS[:1]))
    row = contribution.records.get()
    plain, page = content_hash(content_of(row)), row.get_absolute_url()
    shown = as_user(owner).get(page).text
    assert plain in shown
    assert row.content_hash in shown
    withdraw_contribution(contribution=contribution, actor=contributor)
    shown = as_user(owner).get(page).text
    assert plain not in shown
    assert row.content_hash in shown


# Rows from before


def test_the_command_keys_rows_from_before(
    opened: Datanet, contributor: User, owner: User, give: Give
) -> None:
    fill(opened, contributor, owner, give)
    gone = give(opened, contributor, jsonl(AGAIN[-1:]))
    guess = content_of(gone.records.get())
    withdraw_contribution(contribution=gone, actor=contributor)
    from_before(opened)
    call_command("rotate_data_keys")
    assert confirmed() == set()
    assert content_hash(guess) not in "\n".join(whole_database())
    assert all(map(is_keyed, Record.objects.values_list("content_hash", flat=True)))


def test_rows_that_were_sealed_before_hashes_were_keyed_are_keyed(
    opened: Datanet, contributor: User, owner: User, give: Give, capsys: Any
) -> None:
    """What an installation of the release before has."""
    fill(opened, contributor, owner, give)
    plain = {row.pk: _told(row) for row in Record.objects.all()}
    from_before(opened)
    call_command("rotate_data_keys")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE datanets_record DISABLE TRIGGER USER")
        for pk, (digest, salt) in plain.items():
            change = "UPDATE datanets_record SET content_hash = %s, salt = %s WHERE id = %s"
            cursor.execute(change, [digest, salt, pk])
        cursor.execute("ALTER TABLE datanets_record ENABLE TRIGGER USER")
    assert confirmed() == {"content", "leaf"}
    capsys.readouterr()
    call_command("rotate_data_keys")
    assert "3 rows sealed" in capsys.readouterr().out
    assert confirmed() == set()


def _told(row: Record) -> tuple[str, bytes]:
    return row.content_hash, bytes(row.salt)


def test_the_command_goes_on_where_it_was_broken_off(
    opened: Datanet,
    contributor: User,
    give: Give,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    give(opened, contributor, jsonl(ROWS[:2]))
    from_before(opened)
    monkeypatch.setattr(seal_rows, "ROWS_AT_ONCE", 1)
    with connection.execute_wrapper(_Broken(at=2)), pytest.raises(OperationalError):
        call_command("rotate_data_keys")
    assert [is_keyed(row.content_hash) for row in Record.objects.order_by("pk")] == [True, False]
    kinds = [set(row.keys.values_list("kind", flat=True)) for row in Record.objects.order_by("pk")]
    assert kinds == [{"near_key", "held_key"}, {"near", "held_out"}]
    call_command("rotate_data_keys")
    assert confirmed() == set()


class _Broken:
    """The server goes away at the second row that is written."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, execute: Any, query: str, *rest: Any) -> Any:
        written = query.startswith('UPDATE "datanets_record"')
        self.left -= written
        if written and not self.left:
            raise OperationalError("the server is gone")
        return execute(query, *rest)


def test_a_row_from_before_can_be_withdrawn_before_the_command_comes(
    opened: Datanet, contributor: User, give: Give
) -> None:
    contribution = give(opened, contributor, jsonl(ROWS[:1]))
    from_before(opened)
    withdraw_contribution(contribution=contribution, actor=contributor)
    row = contribution.records.get()
    assert (row.state, row.fingerprint, bytes(row.salt)) == ("withdrawn", "", b"")


def test_a_datanet_that_was_opened_is_searched_and_compared_as_others_are(
    closed: Datanet, contributor: User, owner: User, stranger: User, give: Give, client: Any
) -> None:
    version = fill(closed, contributor, owner, give)
    proofs = [inclusion_proof(entry) for entry in version.entries.all()]
    Datanet.objects.filter(pk=closed.pk).update(visibility="public")
    call_command("rotate_data_keys")
    assert confirmed() == {"content", "fingerprint", "prompt", "band", "wording", "leaf"}
    elsewhere = make_datanet(owner, "Elsewhere", "public")
    assert "duplicate_elsewhere" in rules_of(give(elsewhere, owner, jsonl(ROWS[:1])))[0]
    version = Version.objects.get(pk=version.pk)
    assert [inclusion_proof(entry) for entry in version.entries.all()] == proofs
    address = reverse("datanets:row-list", args=[closed.slug])
    assert "4711" in client.get(f"{address}?search=4711").text
