"""The same POST ten times at once has one effect."""

from __future__ import annotations

import hashlib
import threading

import pytest
from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.test import RequestFactory

from openledger_site.core.errors import Conflict
from openledger_site.core.idempotency import (
    AnsweredLongAgo,
    KeyReused,
    KeyTooLong,
    forget_old_answers,
    idempotent,
    key_old_fingerprints,
)
from openledger_site.core.models import AnsweredRequest, OutboxMessage

pytestmark = pytest.mark.django_db(transaction=True)


@idempotent
def make_a_thing(request):
    OutboxMessage.objects.create(task="made", queue="test")
    if request.POST.get("refuse"):
        raise Conflict
    if request.POST.get("invalid"):
        return HttpResponse("no", status=422)
    return JsonResponse({"number": OutboxMessage.objects.count()}, status=201)


def post(user, key="k-1", **data):
    request = RequestFactory().post(
        "/things/", data, headers={"Idempotency-Key": key} if key else {}
    )
    request.user = user
    return make_a_thing(request)


def test_a_repeat_gets_the_stored_answer(owner):
    first, second = post(owner), post(owner)
    assert (first.content, second.content) == (b'{"number": 1}', b'{"number": 1}')
    assert (second.status_code, second["Idempotent-Replay"]) == (201, "true")


def test_ten_at_once_have_one_effect(owner):
    answers = []

    def send():
        answers.append(post(owner).content)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers == [b'{"number": 1}'] * 10
    assert OutboxMessage.objects.count() == 1


def test_the_key_belongs_to_one_person(owner, stranger):
    post(owner)
    assert post(stranger).content == b'{"number": 2}'


def test_another_request_under_the_same_key_is_refused(owner):
    post(owner)
    with pytest.raises(KeyReused):
        post(owner, colour="red")


def test_a_refused_request_may_be_sent_again(owner):
    with pytest.raises(Conflict):
        post(owner, refuse="1")
    assert not AnsweredRequest.objects.exists()
    assert not OutboxMessage.objects.exists()


def test_an_invalid_form_leaves_nothing(owner):
    assert post(owner, invalid="1").status_code == 422
    assert not OutboxMessage.objects.exists()


def test_without_a_key_each_request_counts(owner):
    assert [post(owner, key="").content for _ in range(2)] == [b'{"number": 1}', b'{"number": 2}']


def test_a_key_that_is_too_long_is_refused(owner):
    with pytest.raises(KeyTooLong):
        post(owner, key="k" * 256)


def test_what_is_stored_of_a_request_confirms_no_guess_of_it(owner, settings):
    """A pasted row is among the fields of a form."""
    post(owner, colour="red")
    stored = AnsweredRequest.objects.get().fingerprint
    settings.SECRET_KEY = "another"
    post(owner, key="k-2", colour="red")
    assert stored != AnsweredRequest.objects.get(key="k-2").fingerprint


def test_a_request_that_was_answered_before_is_answered_again_and_keyed_by_the_command(owner):
    first = post(owner)
    body = b"POST /things/\n" + repr(([], [])).encode()
    plain = hashlib.sha256(body).hexdigest()
    keyed = AnsweredRequest.objects.get().fingerprint
    AnsweredRequest.objects.update(fingerprint=plain)
    assert post(owner).content == first.content
    assert key_old_fingerprints() == 1
    assert AnsweredRequest.objects.get().fingerprint == keyed
    assert post(owner).content == first.content
    assert key_old_fingerprints() == 0


def test_an_old_answer_is_forgotten_and_what_it_answered_is_not_done_again(owner):
    post(owner)
    post(owner, key="k-2")
    AnsweredRequest.objects.filter(key="k-1").update(created_at="2020-02-01T00:00Z")
    assert [forget_old_answers(), forget_old_answers()] == [1, 0]
    assert bytes(AnsweredRequest.objects.get(key="k-1").body) == b""
    with pytest.raises(AnsweredLongAgo, match="done on 1 February 2020 and is not done again"):
        post(owner)
    with pytest.raises(KeyReused):
        post(owner, colour="red")
    assert post(owner, key="k-2").content == b'{"number": 2}'
    assert OutboxMessage.objects.count() == 2
