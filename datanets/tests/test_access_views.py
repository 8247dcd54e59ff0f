"""Asking for access to a restricted Datanet, answering, withdrawing, revoking."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from datanets.models import AccessGrant, Datanet, Membership
from datanets.services import decide_grant, mail_about_grant, request_access
from openledger_site.core.models import OutboxMessage

pytestmark = pytest.mark.django_db

ASK = {"right": "read", "purpose": "A model of errors", "term_days": 90}


@pytest.fixture
def restricted(version) -> Datanet:
    Datanet.objects.update(visibility="restricted", access_questions="Who pays?\n\nWho else reads?")
    version.datanet.refresh_from_db()
    return version.datanet


def url(name: str, datanet: Datanet) -> str:
    return reverse(f"datanets:{name}", args=[datanet.slug])


def decide_url(grant: AccessGrant) -> str:
    return reverse("datanets:grant-decide", args=[grant.public_id])


@pytest.fixture
def asked(restricted, builder) -> AccessGrant:
    return request_access(datanet=restricted, user=builder, right="read", purpose="A model")


def test_the_page_of_a_restricted_datanet_says_where_to_ask(as_user, restricted, builder):
    page = as_user(builder).get(restricted.get_absolute_url()).content.decode()
    assert url("access-request", restricted) in page
    assert "Ask for access" in page


def test_asking_takes_right_purpose_term_and_the_owners_questions(as_user, restricted, builder):
    answers = {"question_0": "A grant", "question_1": "Nobody"}
    as_user(builder).post(url("access-request", restricted), ASK | answers)
    grant = AccessGrant.objects.get()
    assert (grant.right, grant.purpose, grant.term_days) == ("read", "A model of errors", 90)
    assert grant.answers == [
        {"question": "Who pays?", "answer": "A grant"},
        {"question": "Who else reads?", "answer": "Nobody"},
    ]


def test_a_question_without_an_answer_is_refused_beside_it(as_user, restricted, builder):
    answer = as_user(builder).post(url("access-request", restricted), ASK | {"question_0": "x"})
    assert answer.status_code == 422
    assert b"This field is required" in answer.content
    assert not AccessGrant.objects.exists()


def test_asking_twice_makes_one_request(as_user, restricted, builder):
    form = ASK | {"question_0": "x", "question_1": "y"}
    for _ in range(2):
        assert as_user(builder).post(url("access-request", restricted), form).status_code == 302
    assert AccessGrant.objects.count() == 1


def test_nobody_sends_mail_without_end_by_asking_and_withdrawing(as_user, restricted, builder):
    answers = {"question_0": "A grant", "question_1": "Nobody"}
    client, page = as_user(builder), url("access-request", restricted)
    for _ in range(3):
        assert client.post(page, ASK | answers).status_code == 302
        grant = AccessGrant.objects.latest("pk")
        client.post(reverse("datanets:grant-withdraw", args=[grant.public_id]))
    assert client.post(page, ASK | answers).status_code == 429
    assert AccessGrant.objects.count() == 3
    AccessGrant.objects.update(created_at=timezone.now() - timedelta(days=2))
    assert client.post(page, ASK | answers).status_code == 302


@pytest.mark.parametrize("who", ["owner", "curator"])
def test_owner_and_curators_decide_and_the_asker_reads_why(
    as_user, asked, restricted, builder, request, who
):
    decider = request.getfixturevalue(who)
    listed = as_user(decider).get(url("request-list", restricted)).content
    assert b"A model" in listed
    until = (timezone.now() + timedelta(days=30)).date()
    form = {"decision": "grant", "until": until.isoformat(), "answer": "Good cause"}
    assert as_user(decider).post(decide_url(asked), form).status_code == 302
    asked.refresh_from_db()
    assert (asked.state, asked.decided_by, asked.expires_at.date()) == ("granted", decider, until)
    shown = as_user(builder).get(url("access-request", restricted)).content
    assert b"Good cause" in shown
    assert b"Granted" in shown
    assert b"KeyError" in as_user(builder).get(restricted.get_absolute_url()).content


@pytest.mark.parametrize("who", ["builder", "stranger", "contributor"])
def test_nobody_else_sees_or_decides_requests(as_user, asked, restricted, request, who):
    client = as_user(request.getfixturevalue(who))
    assert client.get(url("request-list", restricted)).status_code == 404
    assert client.post(decide_url(asked), {"decision": "grant"}).status_code == 404


def test_a_reviewer_reads_but_does_not_decide(as_user, asked, restricted, stranger):
    Membership.objects.create(datanet=restricted, user=stranger, role="reviewer")
    client = as_user(stranger)
    assert client.get(reverse("datanets:review-queue", args=[restricted.slug])).status_code == 200
    assert client.post(decide_url(asked), {"decision": "grant"}).status_code == 404
    assert client.post(url("version-create", restricted)).status_code == 404


@pytest.mark.parametrize("decision", ["refuse", "revoke"])
def test_a_refusal_needs_a_reason(as_user, asked, owner, decision):
    if decision == "revoke":
        decide_grant(grant=asked, actor=owner, granted=True)
    answer = as_user(owner).post(decide_url(asked), {"decision": decision, "answer": " "})
    assert answer.status_code == 422
    asked.refresh_from_db()
    assert asked.state in AccessGrant.OPEN


def test_those_that_wait_come_first(as_user, asked, restricted, owner, stranger):
    later = request_access(datanet=restricted, user=stranger, right="read", purpose="Later")
    decide_grant(grant=later, actor=owner, granted=True)
    page = as_user(owner).get(url("request-list", restricted)).content.decode()
    assert page.index("A model") < page.index("Later")


def test_without_requests_the_page_says_how_they_come(as_user, restricted, owner):
    assert b"Nobody has asked" in as_user(owner).get(url("request-list", restricted)).content


def test_the_list_costs_the_same_for_any_number(
    as_user, asked, restricted, owner, make_user, measured
):
    one = measured(as_user(owner), url("request-list", restricted))
    for number in range(5):
        person = make_user(f"p{number}")
        request_access(datanet=restricted, user=person, right="read", purpose="x")
    assert measured(as_user(owner), url("request-list", restricted)) == one


def test_an_asker_withdraws_a_request_and_nobody_else_does(as_user, asked, stranger, builder):
    path = reverse("datanets:grant-withdraw", args=[asked.public_id])
    assert as_user(stranger).post(path).status_code == 404
    assert as_user(builder).post(path).status_code == 302
    asked.refresh_from_db()
    assert asked.state == "withdrawn"
    assert as_user(builder).post(path).status_code == 409


def test_a_term_that_is_over_is_shown_and_lets_nobody_in(
    as_user, asked, restricted, owner, builder
):
    decide_grant(grant=asked, actor=owner, granted=True, days=1)
    AccessGrant.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    page = as_user(builder).get(restricted.get_absolute_url()).content
    assert b"Expired" in page
    assert b"KeyError" not in page


def test_only_the_owner_sets_the_questions(as_user, restricted, owner, curator):
    form = {"access_questions": "Why?"}
    assert as_user(curator).post(url("access-questions", restricted), form).status_code == 404
    assert as_user(owner).post(url("access-questions", restricted), form).status_code == 302
    restricted.refresh_from_db()
    assert restricted.questions == ["Why?"]


def test_deciders_and_asker_are_told_by_mail(asked, owner, curator, builder):
    assert OutboxMessage.objects.get().arguments == {"grant_id": asked.pk, "state": "requested"}
    assert mail_about_grant(asked.pk, "requested") == 2
    assert {to for message in mail.outbox for to in message.to} == {owner.email, curator.email}
    decide_grant(grant=asked, actor=owner, granted=False, answer="Too broad")
    assert mail_about_grant(asked.pk, "requested") == 0
    assert mail_about_grant(asked.pk, "refused") == 1
    assert mail.outbox[-1].to == [builder.email]
    assert "Too broad" in mail.outbox[-1].body


def test_a_revoked_reader_finds_every_door_shut_at_the_next_request(
    as_user, asked, restricted, version, owner, builder
):
    decide_grant(grant=asked, actor=owner, granted=True)
    Datanet.objects.update(visibility="private")
    record = restricted.records.first()
    doors = [
        restricted.get_absolute_url(),
        version.get_absolute_url(),
        record.get_absolute_url(),
        reverse("datanets:version-manifest", args=[version.public_id]),
        reverse("datanets:version-proof", args=[version.public_id, record.public_id]),
        reverse("datanets:api-datanet-detail", args=[restricted.slug]),
        reverse("datanets:api-version-list", args=[restricted.slug]),
    ]
    client = as_user(builder)
    assert {client.get(door).status_code for door in doors} == {200}
    form = {"decision": "revoke", "answer": "Not as agreed"}
    assert as_user(owner).post(decide_url(asked), form).status_code == 302
    assert {client.get(door).status_code for door in doors} == {404}
