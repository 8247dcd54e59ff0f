"""What nobody decides about is deleted after a number of days, and the page says when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from celery import current_app
from django.conf import settings
from django.core import mail
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from datanets.models import Contribution, PersonalDatum
from datanets.services import (
    choose_mapping,
    decide_contribution,
    expire_undecided,
    mail_about_undecided,
    remind_undecided,
    withdraw_contribution,
)
from datanets.tests.conftest import jsonl
from openledger_site.core.models import AuditEntry, OutboxMessage
from openledger_site.core.storage import blob_path

pytestmark = pytest.mark.django_db

PERSONAL = [{"question": "Who answers?", "answer": "Write to jane.doe@klinik.at today."}]
COLUMNS = b"ask,tell\nWhy?,So.\nHow?,Thus.\n"


@pytest.fixture
def undecided(datanet, contributor, give):
    """It holds an e-mail address and waits."""
    contribution = give(datanet, contributor, jsonl(PERSONAL))
    contribution.refresh_from_db()
    assert contribution.state == "needs_decision"
    return contribution


def age(contribution: Contribution, days: float) -> None:
    since = Now() - timedelta(days=days)
    Contribution.objects.filter(pk=contribution.pk).update(undecided_since=since)


def days_allowed() -> int:
    return settings.CONTRIBUTION_UNDECIDED_DAYS


def test_it_is_deleted_with_file_places_and_an_audit_line(
    undecided, django_capture_on_commit_callbacks
):
    path = blob_path(undecided.file_digest)
    assert path.is_file()
    age(undecided, days_allowed() + 0.1)
    with django_capture_on_commit_callbacks(execute=True):
        assert expire_undecided() == 1
    assert not Contribution.objects.exists()
    assert not PersonalDatum.objects.exists()
    assert not path.exists()
    line = AuditEntry.objects.get(action="contribution.expired")
    assert line.subject == f"contribution:{undecided.public_id}"
    assert line.data["rows"] == 1
    assert "jane" not in str(line.data)
    assert expire_undecided() == 0


def test_a_day_before_it_is_still_there(undecided):
    age(undecided, days_allowed() - 1)
    assert expire_undecided() == 0
    assert Contribution.objects.get().state == "needs_decision"


def test_questions_about_columns_and_drafts_end_too(datanet, contributor, give):
    waiting = [give(datanet, contributor, COLUMNS, "rows.csv")]
    waiting.append(give(datanet, contributor, look_first=True))
    for contribution in waiting:
        age(contribution, days_allowed() + 0.1)
    assert expire_undecided() == 2


def test_what_was_sent_or_withdrawn_never_ends(datanet, contributor, give, undecided, pending):
    mapped = give(datanet, contributor, COLUMNS, "rows.csv")
    choose_mapping(
        contribution=mapped, actor=contributor, mapping={"instruction": "ask", "response": "tell"}
    )
    looked = give(datanet, contributor, jsonl([{"question": "a", "answer": "b"}]), look_first=True)
    decide_contribution(contribution=looked, actor=contributor, by_kind={}, by_place={})
    withdraw_contribution(contribution=undecided, actor=contributor)
    for contribution in (pending, mapped, looked, undecided):
        age(contribution, 10 * days_allowed())
        contribution.refresh_from_db()
        assert contribution.expires_at is None
    assert expire_undecided() == 0


def test_another_question_begins_the_time_anew(datanet, contributor, give):
    waiting = give(datanet, contributor, b"ask,tell\nWho?,jane.doe@klinik.at\n", "rows.csv")
    age(waiting, days_allowed() - 1)
    named = {"instruction": "ask", "response": "tell"}
    again = choose_mapping(contribution=waiting, actor=contributor, mapping=named)
    again.refresh_from_db()
    assert again.state == "needs_decision"
    assert timezone.now() - again.undecided_since < timedelta(hours=1)


def test_the_page_says_what_happens_when(as_user, undecided, contributor):
    page = as_user(contributor).get(undecided.get_absolute_url()).content.decode()
    day = timezone.localtime(undecided.expires_at).strftime("%-d %B %Y")
    assert "its file are deleted on" in page
    assert f">{day}</time>" in page
    listed = as_user(contributor).get(reverse("datanets:contribution-list")).content.decode()
    assert day in listed


def test_beat_runs_it(undecided):
    names = {one["task"] for one in settings.CELERY_BEAT_SCHEDULE.values()}
    assert "datanets.expire_undecided" in names
    age(undecided, days_allowed() + 0.1)
    current_app.tasks["datanets.expire_undecided"].run()
    assert not Contribution.objects.exists()


def test_its_contributor_is_mailed_once_a_week_before(undecided, contributor):
    age(undecided, days_allowed() - 6.9)
    assert remind_undecided() == 1
    assert remind_undecided() == 0
    message = OutboxMessage.objects.get(task="datanets.mail_about_undecided")
    assert message.arguments == {"contribution_id": undecided.pk}
    assert mail_about_undecided(undecided.pk) == 1
    sent = mail.outbox[-1]
    assert sent.to == [contributor.email]
    undecided.refresh_from_db()
    assert f"{undecided.expires_at:%d %B %Y}" in sent.subject
    assert undecided.get_absolute_url() in sent.body
    assert undecided.title not in sent.body


def test_nobody_is_mailed_earlier_or_after_the_decision(undecided):
    age(undecided, days_allowed() - 7.1)
    assert remind_undecided() == 0
    age(undecided, days_allowed() - 6)
    assert remind_undecided() == 1
    Contribution.objects.filter(pk=undecided.pk).update(state="in_review")
    assert mail_about_undecided(undecided.pk) == 0


def test_a_second_wait_is_reminded_of_again(undecided):
    age(undecided, days_allowed() - 1)
    long_ago = Now() - timedelta(days=2 * days_allowed())
    Contribution.objects.filter(pk=undecided.pk).update(reminded_at=long_ago)
    assert remind_undecided() == 1
