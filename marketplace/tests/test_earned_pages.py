"""Why did I earn this? For whom the pages are, what they tell, and what they keep to themselves."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable
from typing import Any

import pgtrigger
import pytest
from django.apps import apps
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from datanets.models import Record
from marketplace.models import AnswerShare, Inference, Receipt
from marketplace.selectors import earned_totals, others_of, own_records
from marketplace.selectors.earned import EarnedTotals, OwnRow
from marketplace.services.check_receipts import check_receipts
from marketplace.tests.conftest import World, record_id, run_attempt
from modelfactory.models import AttributionIndex, Calibration, Model
from openledger_site.accounts.models import User
from rewards.models import EarningLine
from rewards.services.settlements import refund_answer

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
LIST = "/marketplace/earned/"


def page_of(inference: Inference) -> str:
    return f"{LIST}{inference.public_id}/"


def read(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def earner(settled: Inference, world: World) -> User:
    """Whose row the answer recites."""
    rows = Record.objects.select_related("contribution__contributor")
    return rows.get(public_id=record_id(world.question)).contribution.contributor


@pytest.fixture
def other(earner: User, owner: User, contributor: User) -> User:
    """The other contributor of the version."""
    return owner if earner == contributor else contributor


def test_everybody_whose_rows_were_listed_has_a_share_as_the_receipt_says(
    settled: Inference, owner: User, contributor: User
) -> None:
    body = settled.receipt.body
    told = {
        person["user"]: (person["weight"], int(person["wei"])) for person in body["contributors"]
    }
    shares = {s.contributor: (s.parts, s.amount_wei) for s in AnswerShare.objects.all()}
    assert shares.keys() == {owner, contributor}
    for person, share in shares.items():
        assert share == told.get(str(person.public_id), (0, 0))


def test_shares_and_earnings_are_the_same_wei(settled: Inference) -> None:
    lines = EarningLine.objects.filter(role="contributor")
    booked = dict(lines.values_list("user", "amount_wei"))
    paid = AnswerShare.objects.filter(amount_wei__gt=0)
    assert dict(paid.values_list("contributor", "amount_wei")) == booked


def test_a_share_is_final(settled: Inference, earner: User) -> None:
    with pytest.raises(ProgrammingError, match="Cannot update or delete"), transaction.atomic():
        AnswerShare.objects.filter(contributor=earner).update(parts=0)


def test_a_second_share_of_the_same_answer_is_refused(settled: Inference, earner: User) -> None:
    with pytest.raises(IntegrityError, match="answer_share_once_per_contributor"):
        AnswerShare.objects.create(inference=settled, contributor=earner, parts=1, amount_wei=0)


def test_attribution_that_was_given_up_gives_no_shares(answered: Inference) -> None:
    AttributionIndex.objects.update(ready_at=None)
    run_attempt(answered, attempt=5)
    assert not AnswerShare.objects.exists()


def test_older_answers_get_their_shares_from_their_receipts(settled: Inference) -> None:
    before = set(AnswerShare.objects.values_list("inference", "contributor", "parts", "amount_wei"))
    with pgtrigger.ignore("marketplace.AnswerShare:answer_share_is_final"):
        AnswerShare.objects.all().delete()
    migration = importlib.import_module("marketplace.migrations.0003_fill_answer_shares")
    for _ in range(2):
        migration.fill(apps, None)
    rows = AnswerShare.objects.values_list("inference", "contributor", "parts", "amount_wei")
    assert set(rows) == before


def test_a_share_that_the_receipt_does_not_tell_is_found(settled: Inference, earner: User) -> None:
    with pgtrigger.ignore("marketplace.AnswerShare:answer_share_is_final"):
        AnswerShare.objects.filter(contributor=earner).update(amount_wei=0)
    assert "shares" in check_receipts()[0]


# The list


@pytest.mark.parametrize("path", ["", "8b541d66-b664-451d-90e4-54f07dd03b00/"])
def test_a_visitor_has_to_sign_in(client: Client, path: str) -> None:
    answer = client.get(LIST + path)
    assert (answer.status_code, "login" in answer["Location"]) == (302, True)


def test_the_list_shows_model_share_and_wei_to_the_one_who_earned(
    as_user: SignIn, settled: Inference, earner: User
) -> None:
    share = AnswerShare.objects.get(contributor=earner)
    page = read(as_user(earner), LIST)
    assert page_of(settled) in page
    assert f'value="{share.amount_wei}"' in page
    assert f"{share.percent:.2f} %" in page


def test_the_list_of_somebody_without_rows_says_what_to_do(
    as_user: SignIn, settled: Inference, stranger: User
) -> None:
    page = read(as_user(stranger), LIST)
    assert "No model that learnt your rows has answered yet" in page
    assert page_of(settled) not in page


def test_an_answer_that_could_have_paid_is_listed_too(
    as_user: SignIn, settled: Inference, other: User
) -> None:
    with pgtrigger.ignore("marketplace.AnswerShare:answer_share_is_final"):
        AnswerShare.objects.filter(contributor=other).update(parts=0, amount_wei=0)
    assert "Why nothing?" in read(as_user(other), LIST)


def test_a_refunded_answer_is_marked(as_user: SignIn, settled: Inference, earner: User) -> None:
    refund_answer(str(settled.public_id))
    assert "Refunded" in read(as_user(earner), LIST)
    assert "paid nobody in the end" in read(as_user(earner), page_of(settled))


def test_the_newest_answer_comes_first_and_pages_are_turned(
    as_user: SignIn, settled: Inference, more: Callable[[int], None], earner: User
) -> None:
    more(26)
    first, second = (read(as_user(earner), f"{LIST}?page={number}") for number in (1, 2))
    assert page_of(settled) not in first
    assert page_of(settled) in second


@pytest.fixture
def more(ask: Callable[..., Inference], settled: Inference, earner: User) -> Callable[[int], None]:
    """Further answers with a share, without the seconds that an attribution takes."""

    def make(count: int) -> None:
        body = settled.receipt.body
        for _ in range(count):
            inference = ask()
            AnswerShare.objects.create(
                inference=inference, contributor=earner, parts=10**9, amount_wei=1
            )
            Receipt.objects.create(
                inference=inference, body=body, digest=uuid.uuid4().hex * 2, signature=""
            )
            # The settlement is what the page asks for; its hold is not settled here.
            Inference.objects.filter(pk=inference.pk).update(
                state="settled", settled_at=settled.settled_at
            )

    return make


def test_more_answers_do_not_mean_more_questions_to_the_database(
    as_user: SignIn, settled: Inference, more: Callable[[int], None], earner: User
) -> None:
    browser, counts = as_user(earner), []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            read(browser, LIST)
        counts.append(len(queries))
        more(4)
    assert counts[0] == counts[1] < 12


# Answers that listed none of their rows


@pytest.fixture
def unlisted(ask: Callable[..., Inference], settled: Inference) -> Inference:
    """A settled answer of the same model whose receipt lists nobody's rows."""
    inference = ask()
    influence = {"attribution": {"records": [], "method": "efim-2", "threshold": 0}}
    influence |= {"owners": {}, "record_parts": {}, "owner_parts": {}}
    body = settled.receipt.body | {"evidence": {"influence": influence, "retrieval": []}}
    Receipt.objects.create(
        inference=inference, body=body, digest=uuid.uuid4().hex * 2, signature=""
    )
    Inference.objects.filter(pk=inference.pk).update(
        state="settled", settled_at=settled.settled_at, hold=inference.hold
    )
    inference.refresh_from_db()
    return inference


def test_an_answer_that_listed_none_of_their_rows_is_counted_and_can_be_reached(
    as_user: SignIn, unlisted: Inference, settled: Inference, earner: User
) -> None:
    assert earned_totals(earner) == EarnedTotals(paid=1, unpaid=0, others=1)
    first, others = (read(as_user(earner), LIST + query) for query in ("", "?show=others"))
    assert "None of your rows stood out" in first
    assert page_of(unlisted) not in first
    assert page_of(unlisted) in others
    assert page_of(settled) not in others


def test_the_other_answers_say_whether_anybody_was_paid(
    as_user: SignIn, unlisted: Inference, earner: User, other: User
) -> None:
    assert "nobody was paid" in read(as_user(earner), f"{LIST}?show=others")
    AnswerShare.objects.create(inference=unlisted, contributor=other, parts=10**9, amount_wei=1)
    assert "Rows of others moved it" in read(as_user(earner), f"{LIST}?show=others")


def test_answers_of_models_that_did_not_learn_their_rows_are_not_theirs_to_see(
    as_user: SignIn, unlisted: Inference, stranger: User, payer: User
) -> None:
    assert not others_of(stranger).exists()
    assert not others_of(payer).exists(), "who asked has the answer in another list"
    assert page_of(unlisted) not in read(as_user(stranger), f"{LIST}?show=others")


def test_an_answer_that_is_not_settled_is_nobodys_yet(answered: Inference, owner: User) -> None:
    assert not others_of(owner).exists()


def test_counting_the_others_stops_at_a_limit(
    unlisted: Inference, earner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.selectors.earned.COUNTED_MAX", 1)
    assert earned_totals(earner).others_words == "1 or more"


def test_more_of_the_others_do_not_mean_more_questions_to_the_database(
    as_user: SignIn, settled: Inference, more: Callable[[int], None], other: User
) -> None:
    """The answers that `more` makes list the earner's rows, so they are others to the other."""
    browser, counts = as_user(other), []
    for _ in range(2):
        more(3)
        with CaptureQueriesContext(connection) as queries:
            read(browser, f"{LIST}?show=others")
        counts.append(len(queries))
    assert counts[0] == counts[1] < 12
    assert others_of(other).count() == 6


# Why did I earn this?


def test_a_contributor_sees_their_rows_scores_and_wei_and_no_word_of_the_question(
    as_user: SignIn, settled: Inference, earner: User, world: World
) -> None:
    page = read(as_user(earner), page_of(settled))
    assert "Why did I earn this?" in page
    assert "belong to the person who asked" in page
    rows = own_records(earner, settled)
    assert rows[0].card.record_id == str(record_id(world.question))
    assert rows[0].score > rows[0].threshold
    assert f"{rows[0].score:,}" in page
    assert settled.consumer.name not in page


def test_the_question_and_the_answer_are_kept_from_contributors(
    as_user: SignIn, ask: Callable[..., Inference], settled: Inference, earner: User
) -> None:
    canaries = {"messages": [{"role": "user", "content": "CANARY-Q"}], "answer": "CANARY-A"}
    Inference.objects.filter(pk=settled.pk).update(**canaries)
    for path in (LIST, page_of(settled), page_of(settled) + "dispute/"):
        assert "CANARY" not in read(as_user(earner), path)


def test_the_wei_of_the_rows_sum_to_what_was_earned(settled: Inference, earner: User) -> None:
    share = AnswerShare.objects.get(contributor=earner)
    assert sum(row.amount_wei for row in own_records(earner, settled)) == share.amount_wei > 0


def test_rows_and_names_of_others_are_not_shown(
    as_user: SignIn, settled: Inference, earner: User, other: User
) -> None:
    page = read(as_user(earner), page_of(settled))
    theirs = Record.objects.filter(contribution__contributor=other)
    assert other.name not in page
    assert not [row for row in theirs if row.instruction in page or str(row.public_id) in page]


@pytest.mark.parametrize(("who", "reads"), [("payer", True), ("builder", False)])
def test_the_consumer_alone_reads_the_question_and_the_answer(
    as_user: SignIn, settled: Inference, who: str, reads: bool, request: Any
) -> None:
    page = read(as_user(request.getfixturevalue(who)), page_of(settled))
    assert (settled.answer in page) == reads
    assert "You have no rows in this model" in page
    assert "Dispute this" not in page


def test_a_stranger_cannot_tell_an_answer_from_none(
    as_user: SignIn, settled: Inference, stranger: User
) -> None:
    paths = [page_of(settled), f"{LIST}{uuid.uuid4()}/"]
    assert [as_user(stranger).get(path).status_code for path in paths] == [404, 404]


def test_before_it_is_settled_there_is_nothing_to_explain(
    as_user: SignIn, answered: Inference, contributor: User
) -> None:
    assert as_user(contributor).get(page_of(answered)).status_code == 404


def test_only_the_consumer_is_led_to_the_receipt(
    as_user: SignIn, settled: Inference, earner: User, payer: User
) -> None:
    link = f'href="/marketplace/answers/{settled.public_id}/receipt/"'
    shown = [link in read(as_user(user), page_of(settled)) for user in (payer, earner)]
    assert shown == [True, False]


def test_the_ledgers_link_leads_a_contributor_from_the_receipt_to_the_reasons(
    as_user: SignIn, settled: Inference, earner: User
) -> None:
    assert f"/answers/{settled.public_id}/receipt/" in read(as_user(earner), "/rewards/earnings/")
    answer = as_user(earner).get(f"/marketplace/answers/{settled.public_id}/receipt/")
    assert answer["Location"] == page_of(settled)


def test_an_error_that_is_not_measured_is_said_to_be(
    as_user: SignIn, settled: Inference, earner: User
) -> None:
    assert "not measured yet" in read(as_user(earner), page_of(settled))


def test_a_measured_error_is_shown_with_its_interval(
    as_user: SignIn, settled: Inference, earner: User
) -> None:
    fidelity = {"lds": {"trained": [0.71, 0.6, 0.8], "rewording": [None, None, None]}}
    fields = {"subset_count": 8, "seed": 1, "rows_digest": "a" * 64, "digest": "b" * 64}
    Calibration.objects.update_or_create(
        index=AttributionIndex.objects.get(),
        defaults=fields | {"fidelity": fidelity, "ready_at": settled.settled_at},
    )
    page = read(as_user(earner), page_of(settled))
    assert "0.71" in page
    assert "not measured yet" not in page


@pytest.mark.parametrize(
    ("method", "words"), [("calibrated-3", "Fitted to real retraining"), ("efim-2", "gradient")]
)
def test_the_method_is_told_in_plain_words_and_the_deviation_beside_the_score(
    as_user: SignIn, settled: Inference, earner: User, method: str, words: str
) -> None:
    attribution = settled.receipt.body["evidence"]["influence"]["attribution"]
    attribution["method"] = method
    attribution["records"][0]["deviation"] = 4242
    with pgtrigger.ignore("marketplace.Receipt:receipt_is_final"):
        settled.receipt.save()
    page = read(as_user(earner), page_of(settled))
    assert words in page
    assert "± 4,242" in page


@pytest.mark.parametrize(
    ("score", "deviation", "percent", "words"),
    [
        (140, 20, 1.0, "Very likely moved it"),
        (120, 20, 1.0, "Likely moved it"),
        (105, 20, 1.0, "May have moved it"),
        (90, 20, 0.0, "Not above noise"),
        (140, None, 1.0, "Above noise; how far off is not known"),
    ],
)
def test_how_sure_a_row_is_follows_from_its_distance_to_the_threshold(
    settled: Inference, earner: User, score: int, deviation: int | None, percent: float, words: str
) -> None:
    card = own_records(earner, settled)[0].card
    assert OwnRow(card, score, deviation, 100, percent, 1, "").certainty == words


def test_a_private_model_is_named_and_not_linked(
    as_user: SignIn, settled: Inference, earner: User
) -> None:
    Model.objects.update(visibility="private")
    page = read(as_user(earner), page_of(settled))
    assert settled.model.name in page
    assert "/models/birds/" not in page


def test_the_page_asks_the_database_a_fixed_number_of_questions(
    as_user: SignIn, settled: Inference, earner: User
) -> None:
    browser = as_user(earner)
    with CaptureQueriesContext(connection) as queries:
        read(browser, page_of(settled))
    assert len(queries) < 15


def test_pages_that_only_show_refuse_to_be_posted_to(
    as_user: SignIn, settled: Inference, earner: User
) -> None:
    paths = (LIST, page_of(settled))
    assert [as_user(earner).post(path).status_code for path in paths] == [405, 405]


# The answer fills itself


def test_the_receipt_page_follows_its_job_and_the_part_says_when_it_is_done(
    as_user: SignIn, answered: Inference, payer: User
) -> None:
    path, browser = f"/marketplace/answers/{answered.public_id}/receipt/", as_user(payer)
    page = read(browser, path)
    assert f'data-live-url="{path}"' in page
    assert '<meta http-equiv="refresh"' in page
    part = browser.get(path, headers={"hx-request": "true"}).content.decode()
    assert "data-live-done" not in part
    run_attempt(answered)
    part = browser.get(path, headers={"hx-request": "true"}).content.decode()
    assert "<html" not in part
    assert f'data-live-redirect="{path}"' in part
    assert "data-live-url" not in read(browser, path)
