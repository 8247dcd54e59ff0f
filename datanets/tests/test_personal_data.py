"""Personal data is decided about by its contributor before anything is stored for review."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from datanets.models import Contribution, Finding, PersonalDatum, Record
from datanets.services import Choice, decide_contribution, withdraw_contribution
from datanets.tests.conftest import jsonl
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.models import AuditEntry, Job, JobEvent
from openledger_site.core.storage import blob_path

pytestmark = pytest.mark.django_db

MAIL, PHONE = "jane.doe@acme.com", "+49 30 901820"
ROWS = [
    {"question": "Who helps with refunds?", "answer": f"Write to {MAIL} or call {PHONE}."},
    {"question": "Where is the desk?", "answer": "On the second floor."},
    {"question": "Who signs the form?", "answer": f"Ask {MAIL} for it."},
]


@pytest.fixture
def asked(datanet, contributor, give) -> Contribution:
    return give(datanet, contributor, jsonl(ROWS))


def decide_url(contribution) -> str:
    return reverse("datanets:contribution-decide", args=[contribution.public_id])


def decide(contribution, actor, by_kind=None, by_place=None) -> Contribution:
    return decide_contribution(
        contribution=contribution, actor=actor, by_kind=by_kind or {}, by_place=by_place or {}
    )


def test_nothing_is_stored_until_its_contributor_decides(asked, as_user, contributor):
    assert asked.state == "needs_decision"
    assert not Record.objects.exists()
    page = as_user(contributor).get(asked.get_absolute_url()).content.decode()
    assert "E-mail address (2)" in page
    assert "Phone number (1)" in page
    assert "j•••@a•••" in page
    assert "Names, postal addresses" in page
    assert MAIL not in page
    assert PHONE not in page


def test_nobody_else_sees_that_it_is_there(asked, as_user, owner, stranger, curator):
    for user in (owner, curator, stranger):
        client = as_user(user)
        for name in ("detail", "progress", "bad-rows"):
            url = reverse(f"datanets:contribution-{name}", args=[asked.public_id])
            assert client.get(url).status_code == 404
        assert client.post(decide_url(asked), {}).status_code == 404


def test_the_text_is_in_no_column_of_any_table_but_the_file(asked, contributor, caplog):
    kept = [asked.report, asked.title, *PersonalDatum.objects.values()]
    kept += [*AuditEntry.objects.values(), *Job.objects.values(), *JobEvent.objects.values()]
    assert MAIL not in str(kept)
    assert PHONE not in str(kept)
    assert MAIL not in caplog.text


def test_a_choice_by_kind_is_for_every_place_and_a_places_own_goes_first(asked, contributor):
    last = asked.personal_data.get(row=3)
    done = decide(
        asked,
        contributor,
        {"EMAIL_ADDRESS": Choice("redact"), "PHONE_NUMBER": Choice("keep", "A public desk.")},
        {last.pk: Choice("drop")},
    )
    answers = list(done.records.order_by("position").values_list("response", flat=True))
    assert answers == [f"Write to [EMAIL] or call {PHONE}.", "On the second floor."]
    assert (done.state, done.rows_read, done.rows_accepted) == ("in_review", 3, 2)
    assert done.rows_rejected == 1
    assert "personal data" in done.report["bad_rows"][0]["cause"]


def test_the_choices_are_recorded_without_a_text(asked, contributor):
    done = decide(
        asked, contributor, {kind: Choice("redact") for kind in ("EMAIL_ADDRESS", "PHONE_NUMBER")}
    )
    assert {one.choice for one in done.personal_data.all()} == {"redact"}
    assert not done.personal_data.exclude(masked="").exists()
    entry = AuditEntry.objects.get(action="contribution.decide")
    assert entry.data["personal_data"] == {"EMAIL_ADDRESS redact": 2, "PHONE_NUMBER redact": 1}


def test_what_is_kept_is_shown_to_reviewers_with_its_reason(asked, contributor, as_user, curator):
    reason = Choice("keep", "The desk is public.")
    done = decide(asked, contributor, {"EMAIL_ADDRESS": reason, "PHONE_NUMBER": reason})
    findings = Finding.objects.filter(record__contribution=done, rule="personal_data")
    assert findings.count() == 3
    url = reverse("datanets:review-queue", args=[done.datanet.slug])
    assert b"The desk is public." in as_user(curator).get(url, {"flag": "personal_data"}).content


def test_the_file_is_destroyed_when_something_was_to_go(
    asked, contributor, django_capture_on_commit_callbacks
):
    path = blob_path(asked.file_digest)
    assert path.exists()
    with django_capture_on_commit_callbacks(execute=True):
        choice = Choice("redact")
        done = decide(asked, contributor, {"EMAIL_ADDRESS": choice, "PHONE_NUMBER": choice})
    done.refresh_from_db()
    assert not path.exists()
    assert not done.file_kept


@pytest.mark.parametrize(
    "by_kind",
    [
        {},
        {"EMAIL_ADDRESS": Choice("redact")},
        {"EMAIL_ADDRESS": Choice("redact"), "PHONE_NUMBER": Choice("keep", " ")},
        {"EMAIL_ADDRESS": Choice("redact"), "PHONE_NUMBER": Choice("sell")},
    ],
)
def test_every_place_needs_a_choice_and_keeping_needs_a_reason(asked, contributor, by_kind):
    with pytest.raises(DomainError) as refusal:
        decide(asked, contributor, by_kind)
    assert refusal.value.where == "row 1, response"
    assert not Record.objects.exists()
    assert not PersonalDatum.objects.exclude(choice="").exists()


def test_it_is_decided_once(asked, contributor):
    choice = Choice("redact")
    both = {"EMAIL_ADDRESS": choice, "PHONE_NUMBER": choice}
    decide(asked, contributor, both)
    with pytest.raises(Conflict):
        decide(asked, contributor, both)


def test_by_page_an_open_question_is_answered_with_its_place(asked, as_user, contributor):
    client = as_user(contributor)
    form = {"kind-EMAIL_ADDRESS": "redact"}
    answer = client.post(decide_url(asked), form)
    assert answer.status_code == 422
    assert "Decide about the phone number in row 1, response." in answer.content.decode()
    assert client.get(decide_url(asked)).status_code == 405


def test_by_page_the_rows_go_to_review(asked, as_user, contributor):
    form = {
        "kind-EMAIL_ADDRESS": "redact",
        "kind-PHONE_NUMBER": "keep",
        "kind-PHONE_NUMBER-reason": "A public desk.",
    }
    answer = as_user(contributor).post(decide_url(asked), form)
    assert answer.url == asked.get_absolute_url()
    asked.refresh_from_db()
    assert (asked.state, asked.records.count()) == ("in_review", 3)


def test_withdrawing_leaves_no_trace_of_it(asked, contributor, django_capture_on_commit_callbacks):
    path = blob_path(asked.file_digest)
    with django_capture_on_commit_callbacks(execute=True):
        withdraw_contribution(contribution=asked, actor=contributor)
    assert not PersonalDatum.objects.exists()
    assert not path.exists()


def test_one_row_by_form_does_not_put_its_question_in_the_title(as_user, datanet, contributor):
    row = {"question": f"Who is {MAIL}?", "answer": "Nobody."}
    terms = {"licence": "PSF-2.0", "agree": "on"}
    url = reverse("datanets:contribution-create", args=[datanet.slug])
    as_user(contributor).post(url, {**terms, **row})
    asked = Contribution.objects.get()
    assert (asked.state, asked.title) == ("needs_decision", "One row")


def test_the_database_wants_a_reason_for_what_is_kept(asked):
    with pytest.raises(IntegrityError), transaction.atomic():
        asked.personal_data.update(choice="keep")
