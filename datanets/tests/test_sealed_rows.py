"""Rows of a private Datanet lie sealed in the database, and open for those who may read them."""

from __future__ import annotations

import json
from typing import Any

import pgtrigger
import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from psycopg import sql
from pytest_django.fixtures import Settings

from datanets import selectors
from datanets.content import content_hash, prompt_fingerprint, row_fingerprint
from datanets.models import Contribution, DataKey, Datanet, Membership, Record, Version
from datanets.models.sealed import RowsUnreadable, _sealer_named
from datanets.selectors import RowFilter, content_of
from datanets.selectors import rows as row_pages
from datanets.services import cut_version, review_all, withdraw_contribution
from datanets.tests.conftest import Give, jsonl
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key
from openledger_site.core.sealing import TEXT_MARK

pytestmark = pytest.mark.django_db
SECRET = "the vestibule opens with 4711"
ROWS: list[dict[str, object]] = [
    {"question": "Which code has the door?", "answer": f"It is known that {SECRET}."},
    {"question": "Who keeps the vestibule key?", "answer": "The porter of 4711 keeps it."},
]
CHAT: dict[str, object] = {
    "messages": [
        {"role": "user", "content": "And at night?"},
        {"role": "assistant", "content": "At night the vestibule is turned round."},
    ]
}


@pytest.fixture
def closed(private: Datanet, contributor: User) -> Datanet:
    Membership.objects.create(datanet=private, user=contributor, role="contributor")
    return private


@pytest.fixture
def given(closed: Datanet, contributor: User, give: Give) -> Contribution:
    contribution = give(closed, contributor, jsonl([*ROWS]))
    give(closed, contributor, jsonl([CHAT]))
    return contribution


@pytest.fixture
def cut(closed: Datanet, given: Contribution, owner: User) -> Version:
    rows = Record.objects.filter(datanet=closed)
    assert review_all(records=rows, datanet=closed, reviewer=owner, verdict="approve").decided == 3
    return cut_version(datanet=closed, actor=owner, note="The first")


def tables_holding(words: str) -> list[str]:
    """Every table of the site of which some row says this, in whatever column."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = [name for (name,) in cursor.fetchall()]
        found = []
        for name in names:
            asked = sql.SQL("SELECT 1 FROM {} AS t WHERE t::text LIKE %s LIMIT 1")
            cursor.execute(asked.format(sql.Identifier(name)), [words])
            found += [name] * len(cursor.fetchall())
    return found


def stored(record: Record, column: str) -> str:
    with connection.cursor() as cursor:
        asked = sql.SQL("SELECT {}::text FROM datanets_record WHERE id = %s")
        cursor.execute(asked.format(sql.Identifier(column)), [record.pk])
        return str(cursor.fetchone()[0])


def test_no_table_of_the_database_holds_the_words(cut: Version) -> None:
    """Nor what follows from them alone: see test_keyed_hashes.py."""
    assert tables_holding("%vestibule%") == []
    for record in Record.objects.all():
        content = content_of(record)
        for told in (content_hash(content), row_fingerprint(content), prompt_fingerprint(content)):
            assert tables_holding(f"%{told}%") == []


def test_first_rows_shown_to_name_the_columns_lie_sealed_too(
    closed: Datanet, contributor: User, give: Give, as_user: Any
) -> None:
    """Of a file without a header the names of the columns are a row."""
    file = f"Which code?,{SECRET}\nWho?,The porter of the vestibule\n".encode()
    waiting = give(closed, contributor, file, "rows.csv")
    assert waiting.state == "needs_mapping"
    assert tables_holding("%vestibule%") == []
    page: Client = as_user(contributor)
    assert "vestibule" in page.get(waiting.get_absolute_url()).text
    chosen = {"instruction": "Which code?", "response": SECRET}
    page.post(reverse("datanets:contribution-map", args=[waiting.public_id]), chosen)
    waiting.refresh_from_db()
    assert (waiting.mapping, waiting.state) == (chosen, "in_review")
    assert tables_holding("%vestibule%") == []


def test_those_of_a_datanet_that_was_public_are_sealed_by_the_command(
    datanet: Datanet, contributor: User, give: Give
) -> None:
    waiting = give(datanet, contributor, f"a,{SECRET}\nb,c\n".encode(), "rows.csv")
    assert tables_holding("%vestibule%") == ["datanets_contribution"]
    Datanet.objects.update(visibility="private")
    call_command("rotate_data_keys")
    assert tables_holding("%vestibule%") == []
    waiting.refresh_from_db()
    assert SECRET in waiting.report["needs_mapping"]["columns"]


def test_a_program_is_shown_them_when_it_asks_and_no_stored_answer_holds_them(
    closed: Datanet, contributor: User
) -> None:
    _, secret = create_api_key(contributor, name="k", scopes=["data"])
    program = Client(headers={"authorization": f"Bearer {secret}", "idempotency-key": "once"})
    file = ContentFile(f"a,{SECRET}\nb,c\n".encode(), "rows.csv")
    form = {"licence": "PSF-2.0", "agree": "on", "file": file}
    given = program.post(reverse("datanets:api-contribution-list", args=[closed.slug]), form).json()
    assert (given["state"], given["report"]["needs_mapping"]) == ("needs_mapping", None)
    for words in ("%vestibule%", f"%{b'vestibule'.hex()}%"):
        assert tables_holding(words) == []
    asked = program.get(reverse("datanets:api-contribution-detail", args=[given["id"]])).json()
    assert SECRET in asked["report"]["needs_mapping"]["columns"]


def test_rows_of_other_datanets_stay_plain(datanet: Datanet, contributor: User, give: Give) -> None:
    give(datanet, contributor, jsonl(ROWS))
    assert tables_holding("%vestibule%") == ["datanets_record"]


def test_readers_see_the_rows_and_the_version(
    cut: Version, owner: User, as_user: Any, closed: Datanet
) -> None:
    browser = as_user(owner)
    assert SECRET in browser.get(reverse("datanets:row-list", args=[closed.slug])).text
    row = Record.objects.get(kind="chat")
    assert "turned round" in browser.get(row.get_absolute_url()).text
    kept = [one for entry in cut.entries.all() for one in entry.held_out_wordings]
    assert any("vestibule" in wording for wording in kept)


@pytest.mark.parametrize(
    ("search", "count"),
    [("vestibule", 3), ("VESTI", 3), ("4711 porter", 1), ("turned", 1), ("at", 1), ("estibule", 0)],
)
def test_a_search_opens_the_rows(cut: Version, closed: Datanet, search: str, count: int) -> None:
    assert len(selectors.rows_page(closed, RowFilter(search=search)).rows) == count


def test_a_long_search_goes_on_where_it_ended(
    cut: Version, closed: Datanet, owner: User, as_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_pages, "SEALED_ROWS_READ", 1)
    wanted, seen, after = RowFilter(search="vestibule"), [], None
    for _ in range(4):
        page = selectors.rows_page(closed, wanted, after=after)
        seen += [row.instruction for row in page.rows]
        if page.next is None:
            break
        after = page.next
    assert seen == ["", "Who keeps the vestibule key?", "Which code has the door?"]
    address = reverse("datanets:row-list", args=[closed.slug])
    assert "Search on" in as_user(owner).get(f"{address}?search=vestibule").text


def test_the_queue_of_reviewers_is_searched_too(
    given: Contribution, closed: Datanet, owner: User
) -> None:
    found = selectors.review_queue(owner, closed, search="PORTER")
    assert [row.instruction for row in found] == ["Who keeps the vestibule key?"]


def test_the_database_refuses_a_private_row_in_the_clear(given: Contribution) -> None:
    record = Record.objects.filter(kind="instruction").first()
    columns = {"response": "plain", "messages": json.dumps([{"role": "user", "content": "plain"}])}
    for column, value in columns.items():
        change = sql.SQL("UPDATE datanets_record SET {} = %s WHERE id = %s")
        with transaction.atomic(), connection.cursor() as cursor:
            with pytest.raises(IntegrityError, match="stored sealed"):
                cursor.execute(change.format(sql.Identifier(column)), [value, record.pk])
            transaction.set_rollback(True)


def test_a_sealed_text_opens_in_its_own_column_only(given: Contribution) -> None:
    record = Record.objects.filter(kind="instruction").first()
    with (
        pgtrigger.ignore("datanets.Record:record_content_never_changes"),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE datanets_record SET response = instruction")
    with pytest.raises(RowsUnreadable):
        Record.objects.get(pk=record.pk)


def test_a_stolen_sealed_text_is_not_opened_for_whoever_sends_it(
    given: Contribution, datanet: Datanet, contributor: User, give: Give
) -> None:
    stolen = stored(Record.objects.filter(kind="instruction").first(), "response")
    assert stolen.startswith(TEXT_MARK)
    lines = [stolen, f"olplain:{stolen}", "olplain:", TEXT_MARK]
    give(datanet, contributor, jsonl([{"question": f"What? {n}", "answer": line}
                                      for n, line in enumerate(lines)]))  # fmt: skip
    rows = Record.objects.filter(datanet=datanet).order_by("position")
    assert [row.response for row in rows] == lines


def test_a_row_that_is_saved_again_stays_what_it_is(given: Contribution) -> None:
    record = Record.objects.filter(kind="chat").first()
    before = stored(record, "messages")
    record.save()
    assert stored(record, "messages") == before


def test_equal_texts_are_sealed_differently(closed: Datanet, contributor: User, give: Give) -> None:
    give(closed, contributor, jsonl(ROWS))
    give(closed, contributor, jsonl(ROWS))
    lines = [stored(record, "response") for record in Record.objects.all()]
    assert len(set(lines)) == len(lines) == 4


def test_a_withdrawn_row_is_empty(given: Contribution, contributor: User) -> None:
    withdraw_contribution(contribution=given, actor=contributor)
    row = given.records.first()
    assert (row.instruction, row.messages, row.wordings) == ("", [], {})


def test_rotation_leaves_rows_as_they_are(given: Contribution, settings: Settings) -> None:
    before = stored(given.records.first(), "response")
    settings.DATA_KEYS = ["a new secret of the operator", *settings.DATA_KEYS]
    call_command("rotate_data_keys")
    settings.DATA_KEYS = settings.DATA_KEYS[:1]
    _sealer_named.cache_clear()
    assert given.records.first().response.endswith(f"{SECRET}.")
    assert stored(given.records.first(), "response") == before


def test_without_the_operators_secret_pages_say_what_to_do(
    given: Contribution, owner: User, as_user: Any, settings: Settings
) -> None:
    settings.DATA_KEYS = ["another secret"]
    _sealer_named.cache_clear()
    browser: Client = as_user(owner)
    answer = browser.get(reverse("datanets:review-queue", args=[given.datanet.slug]))
    assert answer.status_code == 503
    assert "DATA_KEYS" in answer.text


def test_rows_from_before_are_sealed_by_the_command(
    datanet: Datanet, contributor: User, owner: User, give: Give, capsys: Any
) -> None:
    contribution = give(datanet, contributor, jsonl([*ROWS]))
    rows = Record.objects.filter(datanet=datanet)
    review_all(records=rows, datanet=datanet, reviewer=owner, verdict="approve")
    version = cut_version(datanet=datanet, actor=owner, note="The first")
    Datanet.objects.update(visibility="private")
    call_command("rotate_data_keys")
    assert "1 files and 5 rows sealed" in capsys.readouterr().out
    assert tables_holding("%vestibule%") == []
    assert contribution.records.first().response.endswith(f"{SECRET}.")
    assert version.entries.first().held_out_wordings
    assert DataKey.objects.count() == 2
    call_command("rotate_data_keys")
    assert "0 rows sealed" in capsys.readouterr().out
