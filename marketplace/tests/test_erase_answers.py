"""A consumer erases questions and answers: text goes from every place, money and proofs stay."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from psycopg import sql

from marketplace import receipts
from marketplace.models import Dispute, Inference, Receipt
from marketplace.selectors import conversation
from marketplace.services import (
    Sampling,
    ask_for_refund,
    erase_answer,
    raise_dispute,
    start_erasing,
)
from marketplace.services.erase_answers import AnswerInDispute, AnswerUnderWay
from marketplace.services.raise_dispute import AnswerErased
from marketplace.tests.conftest import World, delivered, record_id, run_attempt
from openledger_site.accounts.models import User
from openledger_site.core.jobs import run_job
from openledger_site.core.models import AuditEntry, Job
from rewards.models import EarningLine, RefundRequest
from rewards.services import reconcile

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def erased(settled: Inference, payer: User) -> Inference:
    erase_answer(inference=settled, actor=payer)
    settled.refresh_from_db()
    return settled


def whole_table(model: type[Inference] | type[Receipt]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(
                sql.Identifier(model._meta.db_table)
            )
        )
        return "\n".join(row for (row,) in cursor.fetchall())


def test_no_word_and_no_token_is_left(settled: Inference, payer: User) -> None:
    words = [settled.question, settled.answer]
    attribution = settled.receipt.body["evidence"]["influence"]["attribution"]
    spelled = [json.dumps(attribution[name]) for name in ("prompt_ids", "response_ids")]
    sketch = attribution["query"]["sketches"][0]["values"]
    hashes = attribution["query"]["prompt_words"]
    before = whole_table(Inference) + whole_table(Receipt)
    for text in [*words, *spelled, sketch, *hashes, settled.fingerprint]:
        assert text in before
    erase_answer(inference=settled, actor=payer)
    after = whole_table(Inference) + whole_table(Receipt)
    for text in [*words, *spelled, sketch, *hashes, settled.fingerprint]:
        assert text not in after


def test_neither_what_was_to_end_it_nor_how_its_words_fit_the_rows_is_left(
    ask: Callable[..., Inference], world: World, payer: User
) -> None:
    asked = delivered(ask(sampling=Sampling(stop=("Mr Miller",))), world)
    run_attempt(asked)
    assert "Mr Miller" in whole_table(Inference)
    erase_answer(inference=asked, actor=payer)
    assert "Mr Miller" not in whole_table(Inference)
    influence = Receipt.objects.get().body["evidence"]["influence"]
    assert {row["lexical_micro"] for row in influence["attribution"]["records"]} == {0}


def test_what_was_paid_stays_and_the_books_are_clean(settled: Inference, payer: User) -> None:
    lines = list(EarningLine.objects.values("user", "role", "amount_wei"))
    body = settled.receipt.body
    erase_answer(inference=settled, actor=payer)
    receipt = Receipt.objects.get()
    assert list(EarningLine.objects.values("user", "role", "amount_wei")) == lines
    for name in ("fee_wei", "split", "contributors", "usage", "parameters", "builder"):
        assert receipt.body[name] == body[name]
    influence = receipt.body["evidence"]["influence"]
    assert influence["record_parts"] == body["evidence"]["influence"]["record_parts"]
    problems = reconcile().problems
    assert not problems["I7"] + problems["signed receipts"]


def test_a_copy_from_before_still_holds_and_one_from_after_says_why_not(
    settled: Inference, payer: User
) -> None:
    key = receipts.signing_key("a-secret-key-of-the-tests").public_key()
    public = key.public_bytes_raw().hex()

    def copy() -> dict[str, object]:
        found = Receipt.objects.get()
        seal = {"digest": found.digest, "signature": found.signature, "public_key": public}
        return {"body": found.body, **seal}

    before = copy()
    erase_answer(inference=settled, actor=payer)
    assert receipts.verify(before).ok
    with pytest.raises(ValueError, match="was erased on"):
        receipts.verify(copy())


def test_it_is_in_the_audit_log_and_twice_changes_nothing(erased: Inference, payer: User) -> None:
    erase_answer(inference=erased, actor=payer)
    entry = AuditEntry.objects.get(action="answer.erased")
    assert entry.subject == f"answer:{erased.public_id}"
    assert entry.data == {}


def test_an_answer_under_way_is_not_erased(answered: Inference, payer: User) -> None:
    with pytest.raises(AnswerUnderWay):
        erase_answer(inference=answered, actor=payer)
    assert Inference.objects.get().answer


def dispute(settled: Inference, contributor: User, question: str) -> Dispute:
    return raise_dispute(
        inference=settled, raised_by=contributor, records=[str(record_id(question))], reason="?"
    )


def test_an_audit_is_waited_for_and_one_that_failed_is_not(
    settled: Inference, payer: User, contributor: User, world: World
) -> None:
    doubt = dispute(settled, contributor, world.question)
    with pytest.raises(AnswerInDispute):
        erase_answer(inference=settled, actor=payer)
    Job.objects.filter(pk=doubt.job_id).update(state="failed")
    erase_answer(inference=settled, actor=payer)
    assert Inference.objects.get().erased


def test_an_erased_answer_cannot_be_disputed(
    erased: Inference, contributor: User, world: World
) -> None:
    with pytest.raises(AnswerErased):
        dispute(erased, contributor, world.question)
    assert not Dispute.objects.exists()


def test_an_erased_answer_is_not_an_empty_one_to_be_refunded(
    erased: Inference, payer: User
) -> None:
    ask_for_refund(inference=erased, asked_by=payer, reason="unusable")
    assert RefundRequest.objects.get().waiting


def test_pages_of_the_consumer_say_erased(as_user: SignIn, payer: User, erased: Inference) -> None:
    client = as_user(payer)
    page = client.get(reverse("marketplace:receipt", args=[erased.public_id])).content.decode()
    assert "You had the question and its answer erased" in page
    assert "receipt.json" not in page
    assert "Erased" in client.get(reverse("marketplace:answers")).content.decode()
    download = reverse("marketplace:receipt-download", args=[erased.public_id])
    assert client.get(download).status_code == 409
    assert conversation(payer, erased.model) == []


def test_a_contributor_still_sees_what_they_earned(
    as_user: SignIn, contributor: User, erased: Inference
) -> None:
    url = reverse("marketplace:earned-detail", args=[erased.public_id])
    assert as_user(contributor).get(url).status_code == 200


def test_one_is_erased_from_its_receipt_and_all_from_the_list(
    as_user: SignIn, payer: User, settled: Inference
) -> None:
    client = as_user(payer)
    one = reverse("marketplace:answer-erase", args=[settled.public_id])
    assert offers(client, reverse("marketplace:receipt", args=[settled.public_id]), one)
    everything = reverse("marketplace:answers-erase")
    assert offers(client, reverse("marketplace:answers"), everything)
    assert client.post(one).status_code == 302
    assert Inference.objects.get().erased
    assert everything not in client.get(reverse("marketplace:answers")).content.decode()


def offers(client: Client, page: str, action: str) -> bool:
    """A form that a browser can send: with its token."""
    _, _, rest = client.get(page).content.decode().partition(f'action="{action}"')
    return "csrfmiddlewaretoken" in rest.partition("</form>")[0]


def test_all_are_erased_in_the_background(settled: Inference, payer: User, stranger: User) -> None:
    run_job(str(start_erasing(consumer=stranger).pk))
    assert not Inference.objects.get().erased
    run_job(str(start_erasing(consumer=payer).pk))
    assert Inference.objects.get().erased
    assert set(
        Job.objects.filter(kind="marketplace.erase_answers").values_list("state", flat=True)
    ) == {"succeeded"}


def test_all_wait_for_an_audit_and_take_nothing_that_was_asked_later(
    settled: Inference, payer: User, contributor: User, world: World
) -> None:
    doubt = dispute(settled, contributor, world.question)
    job = start_erasing(consumer=payer)
    run_job(str(job.pk))
    job.refresh_from_db()
    assert job.state == Job.State.QUEUED
    assert not Inference.objects.get().erased
    Job.objects.filter(pk=doubt.job_id).update(state="failed")
    Job.objects.filter(pk=job.pk).update(
        wake_after=Now(), payload=job.payload | {"newest": settled.pk - 1}
    )
    run_job(str(job.pk))
    assert not Inference.objects.get().erased  # asked after
    again = start_erasing(consumer=payer)
    run_job(str(again.pk))
    assert Inference.objects.get().erased


@pytest.mark.parametrize(
    "change",
    [
        {"fee_wei": "1"},
        {"fee_wei": "1", "erased_at": "now"},
        {"contributors": [], "erased_at": "now"},
        {"evidence": {}, "erased_at": "now"},
    ],
)
def test_a_receipt_changes_in_no_other_way(settled: Inference, change: dict[str, object]) -> None:
    with pytest.raises(IntegrityError, match="final"), transaction.atomic():
        Receipt.objects.update(body=Receipt.objects.get().body | change)


def test_what_is_erased_does_not_come_back(erased: Inference) -> None:
    with pytest.raises(IntegrityError, match="final"), transaction.atomic():
        Receipt.objects.update(body=Receipt.objects.get().body | {"answer_sha256": "00"})
    with pytest.raises(IntegrityError, match="erased_has_no_text"), transaction.atomic():
        Inference.objects.update(answer="There it is again.")
