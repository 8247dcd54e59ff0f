"""What the checks say, from the upload to the reviewer's page."""

from __future__ import annotations

import pytest
from django.urls import reverse

from datanets.checks import RULES
from datanets.models import Contribution, Finding, Record, RecordKey
from datanets.services import choose_mapping, cut_version, withdraw_contribution
from datanets.tests.conftest import approve_all, jsonl, make_datanet

pytestmark = pytest.mark.django_db

LONG = "A mapping was asked for a key that it does not hold, so nothing can be given back."
NEARLY = "A mapping was asked for a key that it does not hold, so nothing can be handed back."


def asked(question: str, answer: str) -> dict[str, object]:
    return {"question": question, "answer": answer}


def rules_of(contribution: Contribution) -> list[list[str]]:
    rows = contribution.records.order_by("position").prefetch_related("findings")
    return [sorted(finding.rule for finding in record.findings.all()) for record in rows]


def test_a_near_copy_of_a_stored_row_is_labelled_with_its_number_and_its_match(
    datanet, contributor, stranger, give
):
    first = give(datanet, contributor, jsonl([asked("What does KeyError mean?", LONG)]))
    again = give(datanet, stranger, jsonl([asked("What does a KeyError mean?", NEARLY)]))
    finding = Finding.objects.get(record__contribution=again)
    assert finding.rule == "near_duplicate"
    assert finding.threshold <= finding.measured < 1
    assert finding.match == finding.record.duplicate_of == first.records.get()
    assert finding.record.flags == ["near_duplicate"]


def test_a_rejected_row_is_nobodys_match(datanet, contributor, stranger, owner, give):
    rows = jsonl([asked("What does KeyError mean?", LONG)])
    give(datanet, contributor, rows)
    Record.objects.update(state="rejected")
    assert rules_of(give(datanet, stranger, rows)) == [[]]


def test_rows_of_other_public_datanets_count_once_they_are_approved(
    datanet, owner, contributor, stranger, give
):
    other = make_datanet(owner, "Other errors", "public")
    rows = [asked("What does KeyError mean?", LONG)]
    nearly = [asked("What does a KeyError mean?", NEARLY)]
    give(datanet, contributor, jsonl(rows))
    assert rules_of(give(other, stranger, jsonl(rows))) == [[]]
    approve_all(datanet, owner)
    Record.objects.filter(datanet=other).delete()
    assert rules_of(give(other, stranger, jsonl([*rows, *nearly]))) == [
        ["duplicate_elsewhere"],
        ["near_duplicate", "near_duplicate_elsewhere"],
    ]


def test_rows_of_a_private_datanet_are_never_looked_up_from_outside(
    private, datanet, owner, contributor, give
):
    rows = jsonl([asked("What does KeyError mean?", LONG)])
    give(private, owner, rows)
    Record.objects.update(state="approved")
    assert rules_of(give(datanet, contributor, rows)) == [[]]


def test_a_question_held_out_for_measuring_is_labelled(datanet, pending, stranger, give):
    wording = pending.records.first().wordings["held_out"][0]
    given = give(datanet, stranger, jsonl([asked(wording, "Division by nought.")]))
    finding = Finding.objects.get(record__contribution=given, rule="held_out")
    assert finding.match == pending.records.first()


def test_a_copy_of_a_row_that_a_version_holds_out_is_labelled(datanet, owner, stranger, give):
    rows = [asked(f"What does error {at} mean?", f"Reason {at}.") for at in range(30)]
    give(datanet, stranger, jsonl(rows))
    approve_all(datanet, owner)
    version = cut_version(datanet=datanet, actor=owner, held_out_percent=50)
    held = version.entries.filter(split="held_out").values_list("record__instruction", flat=True)
    again = give(datanet, stranger, jsonl(rows))
    labelled = again.records.filter(findings__rule="held_out")
    assert set(labelled.values_list("instruction", flat=True)) == set(held) != set()


def test_the_owner_chooses_which_rows_are_left_out_and_the_contributor_is_told(
    datanet, contributor, give
):
    datanet.left_out_rules = ["duplicate"]
    datanet.save()
    row = asked("What does KeyError mean?", LONG)
    given = give(datanet, contributor, jsonl([row, row]))
    assert (given.rows_read, given.rows_accepted, given.rows_rejected) == (2, 1, 1)
    assert given.records.count() == 1
    bad = given.report["bad_rows"][0]
    assert bad["row"] == 2
    assert "Duplicate" in bad["cause"]


@pytest.mark.parametrize("rule", ["duplicate", "near_duplicate", "same_question"])
def test_what_is_left_out_tells_of_no_row_that_its_sender_may_not_see(
    owner, contributor, stranger, give, as_user, rule
):
    hidden = make_datanet(owner, "Cases", "restricted")
    give(hidden, contributor, jsonl([asked("Who is patient 12?", LONG)]))
    approve_all(hidden, owner)
    hidden.left_out_rules = [rule]
    hidden.save()
    guesses = {
        "duplicate": LONG,
        "near_duplicate": f"{LONG} So it is.",
        "same_question": "Nobody knows, and nobody asks.",
    }
    guess = give(hidden, stranger, jsonl([asked("Who is patient 12?", guesses[rule])]))
    assert (guess.rows_accepted, guess.report["bad_rows"]) == (1, [])
    assert rule in guess.records.get().flags  # which its reviewers see


def test_new_rows_are_counted_before_anything_is_sent(as_user, datanet, pending, contributor, give):
    page = as_user(contributor)
    rows = [*[asked("What does KeyError mean?", "Mapping key not found.")], asked("New?", "Yes.")]
    looked = give(datanet, contributor, jsonl(rows), look_first=True)
    assert (looked.state, looked.records.count()) == ("needs_decision", 0)
    assert b"1 of 2 rows is new here" in page.get(looked.get_absolute_url()).content
    page.post(reverse("datanets:contribution-decide", args=[looked.public_id]))
    looked.refresh_from_db()
    assert (looked.state, looked.records.count()) == ("in_review", 2)


def test_counts_and_labels_do_not_tell_a_contributor_of_rows_they_may_not_see(
    as_user, datanet, pending, stranger, curator, give
):
    """The first contributor's rows wait in review: the second could probe for them."""
    probe = give(datanet, stranger, jsonl([asked("What does KeyError mean?", LONG)]))
    record = probe.records.get()
    assert record.flags == ["same_question"]
    assert probe.report["checks"] == {"rows": 1, "new_rows": 1, "flags": {}}
    title = RULES["same_question"].title.encode()
    for url in (probe.get_absolute_url(), record.get_absolute_url()):
        assert title not in as_user(stranger).get(url).content
    assert title in as_user(curator).get(record.get_absolute_url()).content


def test_withdrawal_destroys_findings_and_keys(pending, contributor, datanet, give):
    again = give(datanet, contributor)
    assert Finding.objects.filter(record__contribution=again).exists()
    assert RecordKey.objects.filter(record__contribution=again, kind="near").count() == 36
    withdraw_contribution(contribution=again, actor=contributor)
    assert not Finding.objects.filter(record__contribution=again).exists()
    assert not RecordKey.objects.filter(record__contribution=again).exists()


def test_malware_without_a_scanner_is_said_to_be_not_scanned(as_user, pending, contributor):
    page = as_user(contributor).get(pending.get_absolute_url()).content
    assert b"Not scanned" in page


def test_the_review_page_shows_number_limit_rule_and_both_rows(
    as_user, datanet, contributor, stranger, curator, give
):
    give(datanet, contributor, jsonl([asked("What does KeyError mean?", LONG)]))
    give(datanet, stranger, jsonl([asked("What does a KeyError mean?", NEARLY)]))
    url = reverse("datanets:review-queue", args=[datanet.slug])
    page = as_user(curator).get(url, {"flag": "near_duplicate"}).content.decode()
    finding = Finding.objects.get()
    for shown in (finding.title, finding.sentence, finding.explanation, "0.7"):
        assert shown in page
    assert f"{finding.measured:g}" in page
    assert LONG in page
    assert NEARLY in page
    assert "<del>given</del>" in page
    assert "Nearly a duplicate (1)" in page


def test_flags_filter_the_queue(as_user, datanet, stranger, curator, give):
    give(datanet, stranger, jsonl([asked("Why so?", "No"), asked("Where is it?", "At home.")]))
    url = reverse("datanets:review-queue", args=[datanet.slug])
    flagged = as_user(curator).get(url, {"flag": "short_answer"}).content
    assert b"Why so?" in flagged
    assert b"1 row waiting" in flagged
    assert b"Where is it?" in as_user(curator).get(url, {"flag": "none"}).content


def test_rows_behind_a_mapping_are_checked_too(datanet, contributor, give):
    waiting = give(datanet, contributor, b"ask,tell\nWhy?,n/a\nHow so?,Thus.\n", "rows.csv")
    mapping = {"instruction": "ask", "response": "tell"}
    done = choose_mapping(contribution=waiting, actor=contributor, mapping=mapping)
    assert rules_of(done) == [["empty_answer"], ["short_answer"]]
