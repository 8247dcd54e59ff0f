"""A contributor doubts an attribution: who may, how often, what the audit finds and keeps."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext

from datanets.models import Record
from marketplace.models import Dispute, Inference
from marketplace.services import AUDIT_JOB, audit_again, audit_dispute, raise_dispute
from marketplace.services.audit_dispute import finding_of, sentence_of
from marketplace.services.raise_dispute import (
    DISPUTES_PER_DAY_MAX,
    AlreadyDisputed,
    AuditStillGoing,
    RowsNotDisputable,
    TooManyDisputes,
)
from modelfactory.services.audit_removal import Removal
from openledger_site.accounts.models import User
from openledger_site.core.jobs import Lease, cancel_job
from openledger_site.core.models import AuditEntry, Job
from rewards.models import Entry

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
FOUND = Removal(
    record_count=1,
    log_probability=-4.0,
    without=-6.5,
    without_digest="a" * 64,
    yardstick=-4.3,
    yardstick_digest="b" * 64,
    yardstick_count=1,
    rows_changed=False,
)


def ids_of(person: User) -> list[str]:
    rows = Record.objects.filter(contribution__contributor=person).order_by("pk")
    return [str(row.public_id) for row in rows]


def decide(dispute: Dispute, removal: Removal = FOUND) -> None:
    Dispute.objects.filter(pk=dispute.pk).update(
        state="decided", finding=finding_of(removal), decided_at=Now()
    )


def claimed(dispute: Dispute) -> Lease:
    """As a worker claims the job; without the heartbeat, which is another connection's."""
    held = {"state": "running", "attempt": 1, "lease_until": Now()}
    Job.objects.filter(pk=dispute.job_id).update(**held)
    return Lease(Job.objects.get(pk=dispute.job_id))


@pytest.fixture
def dispute(settled: Inference, contributor: User) -> Dispute:
    return raise_dispute(
        inference=settled,
        raised_by=contributor,
        records=ids_of(contributor)[:1],
        reason="Why less?",
    )


@pytest.fixture
def form_url(settled: Inference) -> str:
    return f"/marketplace/earned/{settled.public_id}/dispute/"


@pytest.fixture
def staff(make_user: Callable[..., User]) -> User:
    return make_user("Stella", is_staff=True)


# Raising one


def test_a_dispute_queues_an_audit_and_leaves_a_trace(dispute: Dispute) -> None:
    assert dispute.job is not None
    assert (dispute.state, dispute.job.kind, dispute.job.queue) == ("open", AUDIT_JOB, "ml")
    assert AuditEntry.objects.filter(action="dispute.raised").count() == 1


def test_the_rows_in_question_are_the_raisers_own(
    settled: Inference, contributor: User, owner: User
) -> None:
    for records in (ids_of(owner)[:1], [*ids_of(contributor)[:1], str(uuid.uuid4())]):
        with pytest.raises(RowsNotDisputable):
            raise_dispute(inference=settled, raised_by=contributor, records=records, reason="Mine?")
    assert not Dispute.objects.exists()


@pytest.mark.parametrize("count", [0, 11])
def test_one_to_ten_rows_are_disputed_at_once(
    settled: Inference, contributor: User, count: int
) -> None:
    records = [str(uuid.uuid4()) for _ in range(count)]
    with pytest.raises(RowsNotDisputable, match="1 to 10"):
        raise_dispute(inference=settled, raised_by=contributor, records=records, reason="x")


def test_without_any_row_there_is_nothing_to_retrain(
    settled: Inference, contributor: User, owner: User
) -> None:
    Record.objects.filter(contribution__contributor=owner).update(state="withdrawn")
    with pytest.raises(RowsNotDisputable, match="nothing to retrain"):
        raise_dispute(
            inference=settled, raised_by=contributor, records=ids_of(contributor), reason="x"
        )


def test_a_withdrawn_row_cannot_be_disputed(settled: Inference, contributor: User) -> None:
    Record.objects.filter(public_id=ids_of(contributor)[0]).update(state="withdrawn")
    with pytest.raises(RowsNotDisputable):
        raise_dispute(
            inference=settled, raised_by=contributor, records=ids_of(contributor)[:1], reason="x"
        )


def test_one_dispute_is_open_per_person_and_answer(dispute: Dispute, contributor: User) -> None:
    again: dict[str, Any] = {"inference": dispute.inference, "raised_by": contributor}
    again |= {"records": ids_of(contributor)[1:2], "reason": "Again"}
    with pytest.raises(AlreadyDisputed):
        raise_dispute(**again)
    decide(dispute)
    assert raise_dispute(**again).state == "open"


def test_the_database_refuses_a_second_open_dispute(dispute: Dispute, contributor: User) -> None:
    with pytest.raises(IntegrityError, match="dispute_open_once"):
        Dispute.objects.create(
            inference=dispute.inference, raised_by=contributor, records=[], reason="x"
        )


def test_a_person_raises_a_few_disputes_a_day(settled: Inference, contributor: User) -> None:
    given: dict[str, Any] = {"records": ids_of(contributor)[:1], "reason": "x"}
    for _ in range(DISPUTES_PER_DAY_MAX):
        decide(raise_dispute(inference=settled, raised_by=contributor, **given))
    with pytest.raises(TooManyDisputes):
        raise_dispute(inference=settled, raised_by=contributor, **given)


@pytest.mark.parametrize("change", [{"records": []}, {"reason": "Other"}])
def test_what_was_doubted_never_changes(dispute: Dispute, change: dict[str, Any]) -> None:
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Dispute.objects.update(**change)


def test_a_finding_is_written_once_and_a_dispute_is_kept(dispute: Dispute) -> None:
    decide(dispute)
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Dispute.objects.update(finding={"sentence": "Other"})
    with pytest.raises(ProgrammingError, match="Cannot delete"), transaction.atomic():
        dispute.delete()


def test_a_decided_dispute_has_a_finding(dispute: Dispute) -> None:
    with pytest.raises(IntegrityError, match="dispute_decided_has_a_finding"):
        Dispute.objects.update(state="decided")


# What it finds


@pytest.mark.parametrize(
    ("nats", "words"),
    [
        (2.5, "12 times less likely"),
        (0.5, "1.6 times less likely"),
        (-0.5, "1.6 times more likely"),
        (7.8, "2,400 times less likely"),
        (0.01, "about as likely"),
        (-0.01, "about as likely"),
        (400.0, "more than 100 million times less likely"),
    ],
)
def test_a_change_is_told_in_plain_words(nats: float, words: str) -> None:
    assert words in sentence_of(nats)


def test_a_finding_says_whether_chance_does_as_much() -> None:
    small = Removal(**vars(FOUND) | {"without": -4.2})
    assert [finding_of(one)["above_yardstick"] for one in (FOUND, small)] == [True, False]


@pytest.mark.timeout(600)
def test_the_audit_retrains_measures_and_leaves_no_text_behind(
    dispute: Dispute, settled: Inference, contributor: User
) -> None:
    """With the real trainer and the shipped base; money does not move."""
    legs = Entry.objects.count()
    audit_dispute(claimed(dispute))
    dispute.refresh_from_db()
    assert dispute.decided, dispute.job and dispute.job.message
    finding = dispute.finding or {}
    assert finding["difference"] == finding["with"] - finding["without"]
    assert math.isfinite(finding["yardstick"]["difference"])
    assert finding["adapters"]["without"] != finding["adapters"]["yardstick"]
    assert not list(Path(settings.RUNS_DIR).glob("audit-*"))
    assert Entry.objects.count() == legs
    assert AuditEntry.objects.filter(action="dispute.decided").count() == 1


def test_the_audit_of_a_decided_dispute_does_nothing(dispute: Dispute) -> None:
    decide(dispute)
    audit_dispute(claimed(dispute))
    assert not AuditEntry.objects.filter(action="dispute.decided").exists()


def test_an_audit_that_was_stopped_can_be_tried_again(dispute: Dispute, contributor: User) -> None:
    with pytest.raises(AuditStillGoing):
        audit_again(dispute=dispute, actor=contributor)
    cancel_job(dispute.job)
    job = audit_again(dispute=dispute, actor=contributor)
    assert (job.state, job.pk != dispute.job_id) == ("queued", True)


def test_trying_again_has_a_limit_as_well(dispute: Dispute, contributor: User) -> None:
    for _ in range(DISPUTES_PER_DAY_MAX - 1):
        cancel_job(Job.objects.get(kind=AUDIT_JOB, state="queued"))
        audit_again(dispute=dispute, actor=contributor)
    cancel_job(Job.objects.get(kind=AUDIT_JOB, state="queued"))
    with pytest.raises(TooManyDisputes):
        audit_again(dispute=dispute, actor=contributor)


# The form


def test_a_visitor_has_to_sign_in(client: Client, form_url: str) -> None:
    paths = [form_url, f"/marketplace/disputes/{uuid.uuid4()}/"]
    answers = [client.get(path) for path in paths] + [client.post(form_url)]
    assert {("login" in answer["Location"], answer.status_code) for answer in answers} == {
        (True, 302)
    }


@pytest.mark.parametrize("who", ["stranger", "payer", "builder"])
def test_only_those_whose_rows_taught_the_model_may_dispute(
    as_user: SignIn, form_url: str, who: str, request: Any
) -> None:
    browser = as_user(request.getfixturevalue(who))
    answers = [browser.get(form_url), browser.post(form_url, {"reason": "x"})]
    assert [answer.status_code for answer in answers] == [404, 404]


def test_an_answer_that_does_not_exist_cannot_be_disputed(
    as_user: SignIn, contributor: User
) -> None:
    path = f"/marketplace/earned/{uuid.uuid4()}/dispute/"
    assert as_user(contributor).get(path).status_code == 404


def test_the_form_offers_the_readers_own_listed_rows(
    as_user: SignIn, form_url: str, contributor: User, owner: User
) -> None:
    page = as_user(contributor).get(form_url).content.decode()
    assert all(record_id in page for record_id in ids_of(contributor))
    assert not [record_id for record_id in ids_of(owner) if record_id in page]
    assert "moves no money" in page


def test_a_valid_form_opens_a_dispute_and_a_second_press_no_second_one(
    as_user: SignIn, form_url: str, contributor: User
) -> None:
    form = {"records": ids_of(contributor)[:2], "reason": "More is mine.", "idempotency_key": "k"}
    answers = [as_user(contributor).post(form_url, form) for _ in range(2)]
    dispute = Dispute.objects.get()
    assert {answer["Location"] for answer in answers} == {
        f"/marketplace/disputes/{dispute.public_id}/"
    }
    assert dispute.records == sorted(ids_of(contributor)[:2])


def test_an_unlisted_row_is_named_by_its_id(
    as_user: SignIn, form_url: str, contributor: User
) -> None:
    wanted = ids_of(contributor)[0]
    as_user(contributor).post(form_url, {"unlisted": f" {wanted} \n", "reason": "It knew mine."})
    assert Dispute.objects.get().records == [wanted]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"reason": "x"}, "Choose 1 to 10 rows"),
        ({"unlisted": "mine", "reason": "x"}, "An id looks like"),
        ({"unlisted": str(uuid.uuid4())}, "This field is required"),
        ({"records": [str(uuid.uuid4())], "reason": "x"}, "not one of the available choices"),
        ({"unlisted": str(uuid.uuid4()), "reason": "x\x00"}, "Null characters"),
    ],
)
def test_an_invalid_form_is_refused_beside_the_field(
    as_user: SignIn, form_url: str, contributor: User, form: dict[str, Any], words: str
) -> None:
    answer = as_user(contributor).post(form_url, form)
    assert (answer.status_code, words in answer.content.decode()) == (422, True)
    assert not Dispute.objects.exists()


def test_somebody_elses_row_by_id_is_refused_in_plain_words(
    as_user: SignIn, form_url: str, contributor: User, owner: User
) -> None:
    form = {"unlisted": ids_of(owner)[0], "reason": "x"}
    answer = as_user(contributor).post(form_url, form)
    assert (answer.status_code, "rows of your own" in answer.content.decode()) == (422, True)


# The page


def page_of(dispute: Dispute) -> str:
    return f"/marketplace/disputes/{dispute.public_id}/"


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("contributor", 200),  # raised it
        ("builder", 200),  # owns the model
        ("staff", 200),
        ("owner", 404),  # contributed other rows
        ("payer", 404),  # asked
        ("stranger", 404),
    ],
)
def test_a_dispute_is_for_its_raiser_the_models_owner_and_staff(
    as_user: SignIn, dispute: Dispute, who: str, status: int, request: Any
) -> None:
    browser = as_user(request.getfixturevalue(who))
    assert browser.get(page_of(dispute)).status_code == status
    again = browser.post(f"{page_of(dispute)}again/").status_code
    assert again == (409 if status == 200 else 404)


def test_a_dispute_that_does_not_exist_is_not_found(as_user: SignIn, contributor: User) -> None:
    path = f"/marketplace/disputes/{uuid.uuid4()}/"
    assert as_user(contributor).get(path).status_code == 404


def test_the_page_follows_the_audit_with_and_without_scripts(
    as_user: SignIn, dispute: Dispute, contributor: User
) -> None:
    browser = as_user(contributor)
    page = browser.get(page_of(dispute)).content.decode()
    assert f'data-live-url="{page_of(dispute)}"' in page
    assert '<meta http-equiv="refresh"' in page
    part = browser.get(page_of(dispute), headers={"hx-request": "true"}).content.decode()
    assert ("<html" in part, "data-live-done" in part) == (False, False)
    decide(dispute)
    part = browser.get(page_of(dispute), headers={"hx-request": "true"}).content.decode()
    assert ("data-live-done" in part, "12 times less likely" in part) == (True, True)


def test_the_finding_stands_beside_its_yardstick_and_says_that_no_money_moved(
    as_user: SignIn, dispute: Dispute, contributor: User
) -> None:
    decide(dispute)
    page = as_user(contributor).get(page_of(dispute)).content.decode()
    for words in ("-6.500", "2.500", "0.300", "chosen by chance", "moves no money by itself"):
        assert words in page
    assert "data-live-url" not in page


def test_a_stranded_audit_offers_another_try(
    as_user: SignIn, dispute: Dispute, contributor: User
) -> None:
    cancel_job(dispute.job)
    browser = as_user(contributor)
    assert "Try the audit again" in browser.get(page_of(dispute)).content.decode()
    assert browser.post(f"{page_of(dispute)}again/")["Location"] == page_of(dispute)
    assert Job.objects.filter(kind=AUDIT_JOB, state="queued").count() == 1


def test_the_models_owner_reads_no_text_of_a_private_row(
    as_user: SignIn, dispute: Dispute, builder: User
) -> None:
    row = Record.objects.get(public_id=dispute.records[0])
    row.datanet.visibility = "private"
    row.datanet.save()
    page = as_user(builder).get(page_of(dispute)).content.decode()
    assert (row.instruction in page, "private row" in page) == (False, True)


def test_neither_question_nor_answer_is_on_the_page(
    as_user: SignIn, dispute: Dispute, contributor: User, staff: User
) -> None:
    asked = [{"role": "user", "content": "CANARY-Q"}]
    Inference.objects.update(messages=asked, answer="CANARY-A")
    for person in (contributor, staff):
        assert "CANARY" not in as_user(person).get(page_of(dispute)).content.decode()


def test_the_answers_page_lists_its_disputes(
    as_user: SignIn, dispute: Dispute, contributor: User, builder: User, owner: User
) -> None:
    path = f"/marketplace/earned/{dispute.inference.public_id}/"
    shown = [
        page_of(dispute) in as_user(user).get(path).content.decode()
        for user in (contributor, builder, owner)
    ]
    assert shown == [True, True, False]


def test_staff_find_decided_disputes_in_the_back_office(
    as_user: SignIn, dispute: Dispute, make_user: Callable[..., User]
) -> None:
    decide(dispute)
    browser = as_user(make_user("Root", is_staff=True, is_superuser=True))
    listed = browser.get("/admin/marketplace/dispute/?state=decided").content.decode()
    assert "12 times less likely" in listed
    detail = browser.get(f"/admin/marketplace/dispute/{dispute.pk}/change/").content.decode()
    assert page_of(dispute) in detail
    assert dispute.inference.question not in detail


def test_the_page_asks_the_database_a_fixed_number_of_questions(
    as_user: SignIn, dispute: Dispute, contributor: User
) -> None:
    browser = as_user(contributor)
    with CaptureQueriesContext(connection) as queries:
        browser.get(page_of(dispute))
    assert len(queries) < 12


def test_wrong_methods_are_refused(as_user: SignIn, dispute: Dispute, contributor: User) -> None:
    browser = as_user(contributor)
    answers = [browser.post(page_of(dispute)), browser.get(f"{page_of(dispute)}again/")]
    assert [answer.status_code for answer in answers] == [405, 405]
