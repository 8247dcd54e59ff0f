"""The viewer: searched, filtered, sorted and paged by its address, for those who may read."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from datanets import selectors
from datanets.models import AccessGrant, Datanet, Membership, Record, VersionSummary
from datanets.selectors import RowFilter
from datanets.selectors import rows as rows_module
from datanets.services import cut_version, withdraw_contribution
from datanets.tests.conftest import approve_all, jsonl

pytestmark = pytest.mark.django_db
CANARY = "canary-7319"


def rows_of(datanet: Datanet) -> str:
    return reverse("datanets:row-list", args=[datanet.slug])


def questions(page) -> list[str]:
    return [row.instruction for row in page.rows]


@pytest.fixture
def many(datanet, contributor, owner, give) -> Datanet:
    """60 rows of rising length; every third speaks of a heron, and one of a kingfisher."""
    given = [
        {
            "question": f"What is number {at}{' of the heron' if at % 3 == 0 else ''}?",
            "answer": ("kingfisher " if at == 41 else "") + "word " * at + f"end{at}.",
        }
        for at in range(60)
    ]
    give(datanet, contributor, jsonl(given))
    approve_all(datanet, owner)
    return datanet


def test_the_newest_rows_come_first_and_pages_neither_repeat_nor_skip(many):
    seen, cursor = [], None
    while True:
        page = selectors.rows_page(many, RowFilter(), after=cursor)
        seen += page.rows
        if page.next is None:
            break
        cursor = page.next
    assert [row.pk for row in seen] == sorted((row.pk for row in seen), reverse=True)
    assert len(seen) == 60


@pytest.mark.parametrize("sort", ["", "oldest", "shortest", "longest"])
def test_the_way_back_shows_the_same_page(many, sort):
    wanted = RowFilter(sort=sort)
    first = selectors.rows_page(many, wanted)
    second = selectors.rows_page(many, wanted, after=first.next)
    back = selectors.rows_page(many, wanted, before=second.previous)
    assert [row.pk for row in back.rows] == [row.pk for row in first.rows]
    assert back.previous is None
    assert back.next == first.next


def test_rows_are_sorted_by_length(many):
    lengths = [row.characters for row in selectors.rows_page(many, RowFilter(sort="longest")).rows]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("sort", ["shortest", "longest"])
def test_pages_of_rows_that_are_as_long_neither_repeat_nor_skip(many, sort):
    Record.objects.filter(position__lte=40).update(characters=7)
    seen, cursor = [], None
    while not seen or cursor:
        page = selectors.rows_page(many, RowFilter(sort=sort), after=cursor)
        seen, cursor = [*seen, *page.rows], page.next
    keys = [(row.characters, row.pk) for row in seen]
    assert keys == sorted(set(keys), reverse=sort == "longest")
    assert len(keys) == 60


def test_a_page_begins_in_the_index_however_many_rows_are_as_long(many):
    first = selectors.rows_page(many, RowFilter(sort="longest"))
    with CaptureQueriesContext(connection) as queries:
        selectors.rows_page(many, RowFilter(sort="longest"), after=first.next)
    asked = next(one["sql"] for one in queries if "ROW(" in one["sql"])
    with connection.cursor() as cursor:
        # So few rows would rather be sorted.
        for other in ("seqscan", "bitmapscan", "sort"):
            cursor.execute(f"SET LOCAL enable_{other} = off")
        cursor.execute(f"EXPLAIN {asked}")
        plan = [line for (line,) in cursor.fetchall()]
    assert any("Index Cond" in line and "ROW(characters, id) <" in line for line in plan), plan


@pytest.mark.parametrize("looked_at", [500, 5], ids=["by looking", "by the index of words"])
@pytest.mark.parametrize(
    ("search", "found"),
    [("heron", 20), ("HERON number", 20), ("kingf", 1), ("heron kingfisher", 0), ("ro", 0)],
)
def test_a_search_finds_words_and_how_they_begin(many, monkeypatch, looked_at, search, found):
    monkeypatch.setattr(rows_module, "LOOKED_AT_FIRST", looked_at)
    assert len(selectors.rows_page(many, RowFilter(search=search)).rows) == found


@pytest.mark.parametrize("search", ["'", "a' | 'b", "\\", "!!", ":*", "& | <->", "''' ''"])
def test_no_search_breaks_the_query(many, client, monkeypatch, search):
    monkeypatch.setattr(rows_module, "LOOKED_AT_FIRST", 5)
    assert client.get(rows_of(many), {"search": search}).status_code == 200


def test_a_search_stays_in_its_datanet(many, private, owner, contributor, give):
    Membership.objects.create(datanet=private, user=contributor, role="contributor")
    give(private, contributor, jsonl([{"question": "What is a heron?", "answer": CANARY}]))
    Record.objects.update(state="approved")
    assert not selectors.rows_page(many, RowFilter(search=CANARY)).rows


def test_filters_narrow_the_rows(many, contributor, stranger):
    page = selectors.rows_page
    assert page(many, RowFilter(contributor=contributor.public_id)).rows
    assert not page(many, RowFilter(contributor=stranger.public_id)).rows
    assert page(many, RowFilter(licence="PSF-2.0")).rows
    assert not page(many, RowFilter(licence="MIT")).rows
    assert not page(many, RowFilter(kind="chat")).rows
    short = page(many, RowFilter(length="0")).rows
    assert short
    assert all(row.characters < 50 for row in short)


def test_a_version_shows_its_own_rows_only(version, contributor, owner, give):
    give(version.datanet, contributor, jsonl([{"question": "Later?", "answer": "Yes."}]))
    approve_all(version.datanet, owner)
    assert "Later?" in questions(selectors.rows_page(version.datanet, RowFilter()))
    shown = questions(selectors.rows_page(version.datanet, RowFilter(), version=version))
    assert len(shown) == 3
    assert "Later?" not in shown


def test_each_bar_filters_by_its_address_and_names_its_rows(client, many):
    page = client.get(rows_of(many))
    for histogram in page.context["histograms"]:
        for bar in histogram.bars:
            shown = client.get(rows_of(many) + bar.query)
            assert shown.context["chosen"], bar.label
            if shown.context["total"] is not None:
                assert shown.context["total"] == bar.rows
            assert len(shown.context["page"].rows) == min(bar.rows, rows_module.PAGE_ROWS)


def test_a_chosen_bar_frees_its_filter_again(client, many):
    page = client.get(rows_of(many), {"length": "0", "sort": "longest"})
    chosen = [bar for h in page.context["histograms"] for bar in h.bars if bar.chosen]
    assert [parse_qs(bar.query.lstrip("?")) for bar in chosen] == [{"sort": ["longest"]}]


def test_the_next_page_keeps_the_filter_in_its_address(client, many):
    page = client.get(rows_of(many), {"search": "number", "sort": "oldest"})
    following = re.search(r'rel="next" href="([^"]+)"', page.content.decode())[1]
    second = client.get(following.replace("&amp;", "&"))
    assert second.context["wanted"].search == "number"
    assert second.context["page"].rows[0].position == 26


def test_unknown_values_filter_nothing_out(client, many):
    odd = {"length": "99", "kind": "x", "label": "x", "after": "x", "contributor": "x"}
    page = client.get(rows_of(many), odd | {"language": "<b>", "sort": "x"})
    assert len(page.context["page"].rows) == rows_module.PAGE_ROWS
    assert not page.context["chosen"]


def test_the_page_costs_the_same_for_any_number_of_rows(client, many, measured):
    assert measured(client, rows_of(many)) <= 10
    assert measured(client, rows_of(many) + "?search=heron") <= 12


def test_the_summary_of_a_version_counts_what_there_is(version, contributor):
    counts = selectors.counts_of_version(version)
    assert counts.rows == 3
    assert counts.by["contributor"] == {str(contributor.pk): 3}
    assert counts.by["licence"] == {"PSF-2.0": 3}
    VersionSummary.objects.all().delete()  # as with versions from before
    assert selectors.counts_of_version(version) == counts


def test_withdrawn_rows_leave_the_viewer_the_search_and_every_count(
    client, version, owner, stranger, give
):
    datanet = version.datanet
    gone = give(datanet, stranger, jsonl([{"question": f"{CANARY}?", "answer": "It was here."}]))
    approve_all(datanet, owner)
    second = cut_version(datanet=datanet, actor=owner)
    assert selectors.counts_of_version(second).rows == 4
    withdraw_contribution(contribution=gone, actor=stranger)
    counts = selectors.counts_of_version(second)
    assert counts.rows == 3
    assert str(stranger.pk) not in counts.by["contributor"]
    assert selectors.counts_of_version(version).rows == 3
    for path in (rows_of(datanet), reverse("datanets:version-rows", args=[second.public_id])):
        page = client.get(path, {"search": CANARY})
        assert not page.context["page"].rows
        assert b"Sam" not in page.content


def test_a_cursor_of_a_withdrawn_row_begins_anew(client, many, pending):
    answer = client.get(rows_of(many), {"after": pending.records.first().public_id})
    assert len(answer.context["page"].rows) == rows_module.PAGE_ROWS


# --- Who may not read ------------------------------------------------------------------------


@pytest.fixture
def secret(private, contributor, owner, give):
    Membership.objects.create(datanet=private, user=contributor, role="contributor")
    given = [{"question": f"What is {CANARY}?", "answer": f"{CANARY} it is, number {at}."}
             for at in range(4)]  # fmt: skip
    give(private, contributor, jsonl(given))
    approve_all(private, owner)
    return cut_version(datanet=private, actor=owner)


PAGES = ("datanet-detail", "row-list", "version-detail", "version-rows", "version-croissant",
         "record-detail", "card-edit", "datanet-list")  # fmt: skip


def addresses(version) -> dict[str, str]:
    things = {"datanet": [version.datanet.slug], "row": [version.datanet.slug],
              "version": [version.public_id], "card": [version.datanet.slug],
              "record": [version.entries.first().record.public_id]}  # fmt: skip
    things["datanet-list"] = []
    return {
        name: reverse(f"datanets:{name}", args=things.get(name, things.get(name.split("-")[0])))
        for name in PAGES
    }


@pytest.mark.parametrize("visibility", ["private", "restricted"])
@pytest.mark.parametrize("who", ["nobody", "stranger", "trainer", "granted to train", "removed"])
def test_no_page_holds_the_text_of_a_row_for_one_who_may_not_read_it(
    client, as_user, secret, stranger, visibility, who
):
    Datanet.objects.update(visibility=visibility)
    if who == "trainer":
        Membership.objects.create(datanet=secret.datanet, user=stranger, role="trainer")
    if who == "granted to train":
        AccessGrant.objects.create(
            datanet=secret.datanet, user=stranger, right="train", state="granted", purpose="x"
        )
    if who == "removed":
        AccessGrant.objects.create(
            datanet=secret.datanet, user=stranger, right="read", state="revoked", purpose="x"
        )
    browser = client if who == "nobody" else as_user(stranger)
    for name, address in addresses(secret).items():
        answer = browser.get(address, {"search": "number"})
        assert CANARY.encode() not in answer.content, name
        assert b"histogram-bar" not in answer.content, name
        if name in ("row-list", "version-rows"):
            assert answer.status_code == 404


def test_those_who_may_read_see_the_rows(as_user, secret, stranger):
    Membership.objects.create(datanet=secret.datanet, user=stranger, role="reader")
    answer = as_user(stranger).get(rows_of(secret.datanet), {"search": CANARY[:6]})
    assert len(answer.context["page"].rows) == 4


def test_opening_the_viewer_is_noted_in_the_access_log(as_user, secret, stranger, owner):
    Membership.objects.create(datanet=secret.datanet, user=stranger, role="reader")
    as_user(stranger).get(rows_of(secret.datanet))
    entries = selectors.access_log(owner, secret.datanet)
    assert entries.filter(action="rows.opened", actor=f"user:{stranger.pk}").exists()


def test_labels_that_tell_of_other_rows_are_for_reviewers_only(client, as_user, many, curator):
    Record.objects.filter(position__lte=2).update(flags=["personal_data", "short_answer"])
    Record.objects.filter(position=3).update(flags=["near_duplicate"])
    shown = client.get(rows_of(many), {"label": "personal_data"})
    assert b"Personal data kept" not in shown.content
    assert len(shown.context["page"].rows) == rows_module.PAGE_ROWS
    assert len(client.get(rows_of(many), {"label": "short_answer"}).context["page"].rows) == 2
    seen = as_user(curator).get(rows_of(many), {"label": "personal_data"})
    assert len(seen.context["page"].rows) == 2
    assert b"Personal data kept" in seen.content
