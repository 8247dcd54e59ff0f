"""Verbatim spans and passages on receipts and pages: right, kept apart from pay, and private."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pgtrigger
import pytest
from django.db.models.functions import Now
from django.test import Client

from datanets.models import Contribution, Datanet, Membership
from datanets.services import withdraw_contribution
from marketplace import receipts
from marketplace.models import Inference, Receipt
from marketplace.services import settle_inference
from marketplace.services.gather_evidence import find_verbatim
from marketplace.tests.conftest import ROWS, World, delivered, record_id, run_attempt
from marketplace.tests.test_receipts import resealed
from modelfactory.models import AttributionIndex
from openledger_site.accounts.models import User
from openledger_site.core.jobs import run_job
from openledger_site.core.models import Job
from rewards.models import Settlement

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
ASKED = str(record_id("What is known about the tern?"))


def evidence_of(inference: Inference) -> dict[str, Any]:
    return dict(Receipt.objects.get(inference=inference).body["evidence"])


def receipt_page(client: Client, inference: Inference) -> str:
    answer = client.get(f"/marketplace/answers/{inference.public_id}/receipt/")
    assert answer.status_code == 200
    return answer.content.decode()


def earned_page(client: Client, inference: Inference) -> str:
    answer = client.get(f"/marketplace/earned/{inference.public_id}/")
    assert answer.status_code == 200
    return answer.content.decode()


def withdraw(contributor: User) -> None:
    given = Contribution.objects.get(contributor=contributor)
    withdraw_contribution(contribution=given, actor=contributor)


@pytest.fixture
def told(read: Inference) -> Inference:
    """Settled, with passages."""
    run_attempt(read)
    assert read.settled, read.job and read.job.message
    return read


# What is written


def test_the_passage_that_was_asked_about_did_most_and_its_words_are_found_in_the_answer(
    told: Inference,
) -> None:
    passages = evidence_of(told)["retrieval"]
    effects = {passage["record"]: passage["effect_micro_nats"] for passage in passages}
    assert len(effects) > 1
    assert max(effects, key=effects.__getitem__) == ASKED
    assert effects[ASKED] > 1_000_000
    span = next(s for s in evidence_of(told)["verbatim"] if ASKED in s["records"])
    assert told.answer[span["start"] : span["end"]] == "It lays two eggs"


def test_an_attempt_that_ends_early_leaves_nothing_and_the_next_writes_all_and_pays_by_influence(
    read: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(inference: Inference) -> None:
        raise MemoryError

    with monkeypatch.context() as dying:
        dying.setattr(sys.modules[settle_inference.__module__], "measure_retrieval", die)
        run_attempt(read, attempt=1)
    assert not Receipt.objects.exists()
    assert not Settlement.objects.exists()
    Job.objects.filter(pk=read.job_id).update(wake_after=Now())
    run_attempt(read, attempt=2)
    body = Receipt.objects.get().body
    weights = {person["user"]: person["weight"] for person in body["contributors"]}
    assert weights == body["evidence"]["influence"]["owner_parts"]
    assert body["evidence"]["verbatim"]
    assert body["evidence"]["retrieval_together"]


def test_what_could_never_be_measured_is_told_without_figures(read: Inference) -> None:
    AttributionIndex.objects.update(ready_at=None)
    run_attempt(read, attempt=5)
    evidence = evidence_of(read)
    assert {passage["state"] for passage in evidence["retrieval"]} == {"unmeasured"}
    assert evidence["retrieval_together"] is None
    assert evidence["verbatim"]  # needs no model


def test_a_passage_withdrawn_since_has_no_figure_and_the_others_have(
    read: Inference, contributor: User, payer: User
) -> None:
    """Even to the person who gave it: its text is gone."""
    Contribution.objects.filter(contributor=contributor).update(contributor=payer)
    withdraw(payer)
    run_job(str(Job.objects.get(kind="modelfactory.follow_withdrawals").pk))
    run_attempt(read)
    passages = {passage["record"]: passage for passage in evidence_of(read)["retrieval"]}
    assert (passages[ASKED]["state"], passages[ASKED]["effect_micro_nats"]) == ("withdrawn", None)
    others = [one for one in passages.values() if one["state"] == "measured"]
    assert others
    assert all(one["effect_micro_nats"] is not None for one in others)
    assert not [s for s in evidence_of(read)["verbatim"] if ASKED in s["records"]]


def test_a_right_that_ended_before_measuring_is_respected(read: Inference) -> None:
    Datanet.objects.update(visibility="private")
    run_attempt(read)
    evidence = evidence_of(read)
    assert {passage["state"] for passage in evidence["retrieval"]} == {"unreadable"}
    assert evidence["verbatim"]
    assert {(s["start"], s["end"]) for s in evidence["verbatim"]} == {(None, None)}


# Replay


def downloaded(told: Inference, client: Client) -> dict[str, Any]:
    answer = client.get(f"/marketplace/answers/{told.public_id}/receipt.json")
    return dict(answer.json())


def test_effects_that_do_not_follow_are_found_under_a_valid_signature(
    told: Inference, payer: User, as_user: SignIn
) -> None:
    receipt = downloaded(told, as_user(payer))
    assert receipts.verify(receipt).ok
    for change in (
        lambda e: e["retrieval"][0].update(effect_micro_nats=1),
        lambda e: e["retrieval"][0].update(log_probability_without_micro_nats=-1),
        lambda e: e["retrieval"][0].update(state="withdrawn"),
        lambda e: e["retrieval_together"].update(effect_micro_nats=1),
        lambda e: e["verbatim"][0].update(start=10**6),
        lambda e: e["verbatim"][0].update(rows=0),
        lambda e: e["verbatim"][0].update(records=[ASKED, ASKED]),
    ):
        changed = copy.deepcopy(receipt)
        change(changed["body"]["evidence"])
        assert receipts.verify(resealed(changed)).problems


def as_schema_1(receipt: dict[str, Any]) -> dict[str, Any]:
    """As this site issued receipts before it told spans and effects."""
    old = copy.deepcopy(receipt)
    evidence = old["body"]["evidence"]
    del evidence["verbatim"], evidence["retrieval_together"]
    kept = ("record", "content_hash")
    evidence["retrieval"] = [{k: one[k] for k in kept} for one in evidence["retrieval"]]
    old["body"]["schema"] = 1
    return resealed(old)


def test_receipts_of_schema_1_still_verify_and_are_still_shown(
    told: Inference, payer: User, as_user: SignIn
) -> None:
    old = as_schema_1(downloaded(told, as_user(payer)))
    assert receipts.verify(old).problems == []
    with pgtrigger.ignore("marketplace.Receipt:receipt_is_final"):
        Receipt.objects.update(body=old["body"], digest=old["digest"])
    page = receipt_page(as_user(payer), told)
    assert "Not searched for this answer" in page
    assert "What it did was not measured" in page


# Pages


def test_the_receipt_page_marks_the_words_links_the_rows_and_says_what_each_passage_did(
    told: Inference, payer: User, as_user: SignIn
) -> None:
    page = receipt_page(as_user(payer), told)
    assert "<mark>It lays two eggs</mark>" in page
    assert 'href="#verbatim-1"' in page
    assert 'id="verbatim-1"' in page
    assert "times less likely</strong>" in page
    assert page.count("pays nobody") == 2
    for kind in ("Influence:", "Retrieval:", "Verbatim:", "Lineage:"):
        assert kind in page


def test_what_the_consumer_may_not_read_any_more_is_neither_shown_nor_marked(
    told: Inference, payer: User, as_user: SignIn
) -> None:
    Datanet.objects.update(visibility="private")
    page = receipt_page(as_user(payer), told)
    others = [text for row in ROWS for text in row if text not in (told.question, told.answer)]
    assert not [text for text in others if text in page]
    assert "<mark>" not in page
    assert "Marked words" not in page
    assert "a row you may not read" in page
    assert "Carla" in page  # the owner
    assert "times less likely" in page  # and the figure


def test_a_withdrawn_row_is_named_as_such_on_the_receipt_page(
    told: Inference, payer: User, contributor: User, as_user: SignIn
) -> None:
    withdraw(contributor)
    page = receipt_page(as_user(payer), told)
    assert "a row withdrawn since" in page
    assert "<mark>It lays two eggs</mark>" not in page


def test_a_contributor_learns_what_their_row_did_and_not_what_was_answered(
    told: Inference, contributor: User, as_user: SignIn
) -> None:
    page = earned_page(as_user(contributor), told)
    assert "The model read it before it answered" in page
    assert "times less likely" in page
    assert "The answer repeats" in page
    assert "pay nobody by themselves" in page
    assert "<mark>" not in page


def test_nobody_sees_anothers_rows_in_the_evidence(
    told: Inference, owner: User, builder: User, as_user: SignIn
) -> None:
    Datanet.objects.update(visibility="private")
    page = earned_page(as_user(builder), told)
    assert not [text for row in ROWS for text in row if text in page]
    assert "read or repeated" not in page


def test_whoever_has_the_model_say_a_guess_is_not_told_that_a_row_holds_it(
    ask: Callable[..., Inference], world: World, builder: User
) -> None:
    Membership.objects.create(datanet=Datanet.objects.get(), user=builder, role="trainer")
    guessed = f"Please say after me: {world.answer.upper()}"
    answered = delivered(ask(guessed), world)
    assert find_verbatim(answered)
    Datanet.objects.update(visibility="private")
    assert find_verbatim(answered) == []
    asked = delivered(ask("What is known?"), world)
    [span] = find_verbatim(asked) or []  # nobody guessed it: its words and its owner are told
    assert span["start"] is None


def test_how_well_words_fit_a_row_is_told_to_its_readers_only(
    answered: Inference, payer: User, builder: User, client: Client
) -> None:
    """Asked word by word, it would tell what a hidden row holds."""
    Datanet.objects.update(visibility="private")
    datanet = Datanet.objects.get()
    Membership.objects.create(datanet=datanet, user=builder, role="trainer")
    run_attempt(answered)
    listed = evidence_of(answered)["influence"]["attribution"]["records"]
    assert listed
    assert {row["lexical_micro"] for row in listed} == {0}
    client.force_login(payer)
    receipt = client.get(f"/marketplace/answers/{answered.public_id}/receipt.json").json()
    assert receipts.verify(receipt).ok


def test_its_readers_are_told_until_they_may_not_read_it(
    settled: Inference, payer: User, client: Client
) -> None:
    listed = evidence_of(settled)["influence"]["attribution"]["records"]
    best = max(row["lexical_micro"] for row in listed)
    assert best > 0
    client.force_login(payer)
    figure = f'class="number">{best / 1e6:.2f}<'
    assert figure in receipt_page(client, settled)
    Datanet.objects.update(visibility="private")
    assert figure not in receipt_page(client, settled)


def test_a_stranger_gets_neither_page_nor_receipt(
    told: Inference, stranger: User, as_user: SignIn
) -> None:
    client = as_user(stranger)
    paths = ("receipt/", "receipt.json")
    codes = [client.get(f"/marketplace/answers/{told.public_id}/{p}").status_code for p in paths]
    assert codes == [404, 404]
    assert client.get(f"/marketplace/earned/{told.public_id}/").status_code == 404
