"""What the maker of an agent asks on top: exact, seen before, paid, replayed and given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from marketplace import receipts
from marketplace.agent_forms import AgentForm
from marketplace.maker_part import MAKER_PPM_MAX, fee_within, with_maker_part
from marketplace.models import Agent, AgentVersion, Inference, Receipt
from marketplace.services import Answering, change_agent, make_agent
from marketplace.services.check_receipts import check_receipts
from marketplace.services.reserve_answer import AgentPriceChanged
from marketplace.tests.conftest import World, delivered, run_attempt
from marketplace.tests.test_agent_pages import FORM, NEW, PAGE, shown
from modelfactory.models import Model
from modelfactory.services import price_wei
from openledger_site.accounts.models import User
from openledger_site.core.money import exact_open
from rewards.models import EarningLine, Settlement
from rewards.selectors import spendable_wei
from rewards.services import reconcile, refund_answer

QUARTER = 250_000
Ask = Callable[..., Inference]
SignIn = Callable[[User], Client]
wei = st.integers(0, 10**30)
ppm = st.integers(0, MAKER_PPM_MAX)


@given(wei, ppm)
def test_a_fee_is_found_again_in_what_was_paid_for_it(fee: int, part: int) -> None:
    assert fee_within(with_maker_part(fee, part), part) == fee


@given(wei, ppm)
def test_no_higher_fee_stays_within_what_may_be_paid(most: int, part: int) -> None:
    fee = fee_within(most, part)
    assert with_maker_part(fee, part) <= most < with_maker_part(fee + 1, part)


@pytest.fixture
def dear(make_bot: Callable[..., Agent]) -> Agent:
    """Sam's agent over Bo's model; Sam asks a quarter of the model's price on top."""
    return make_bot(maker_ppm=QUARTER)


@pytest.fixture
def answer(dear: Agent, ask: Ask, world: World) -> Inference:
    inference = delivered(ask(agent=dear), world)
    run_attempt(inference)
    inference.refresh_from_db()
    return inference


def verified(inference: Inference, **changes: Any) -> receipts.Verification:
    """The receipt, with other figures under a valid signature where some are given."""
    body = Receipt.objects.get(inference=inference).body
    for name, value in changes.items():
        at = body
        *way, last = name.split("__")
        for step in way:
            at = at[step]
        at[last] = value
    key, digest = receipts.signing_key("any"), receipts.digest_of(body)
    sealed = {"body": body, "digest": digest, "signature": receipts.sign(digest, key)}
    return receipts.verify(sealed, public_key=key.public_key().public_bytes_raw().hex())


@pytest.mark.django_db
def test_it_is_the_makers_whole_and_nobody_else_gets_less(
    answer: Inference, stranger: User, payer: User
) -> None:
    of_model = price_wei(answer.model, answer.prompt_tokens, answer.completion_tokens)
    settlement = Settlement.objects.get()
    assert settlement.maker_wei == answer.maker_wei == of_model // 4 > 0
    assert settlement.fee_wei == answer.fee_wei == of_model + of_model // 4
    assert settlement.builder_wei == of_model // 5
    assert settlement.contributors_wei + settlement.reserve_wei == of_model * 7 // 10
    line = EarningLine.objects.get(role=EarningLine.Role.MAKER)
    assert (line.user, line.amount_wei) == (stranger, settlement.maker_wei)
    assert check_receipts() == []
    assert reconcile().problems["I7"] == []


@pytest.mark.django_db
def test_its_receipt_replays_and_a_figure_that_does_not_follow_is_found(
    answer: Inference, stranger: User
) -> None:
    assert verified(answer).problems == []
    assert Receipt.objects.get().body["maker"] == str(stranger.public_id)
    wrong = {
        "price__maker_ppm": QUARTER * 2,
        "split__maker_wei": str(answer.maker_wei + 1),
        "fee_wei": str(answer.fee_wei - answer.maker_wei),
    }
    for name, value in wrong.items():
        assert verified(answer, **{name: value}).problems, name


@pytest.mark.django_db
def test_a_receipt_from_before_makers_had_a_part_still_replays(ask: Ask, world: World) -> None:
    inference = delivered(ask(), world)
    run_attempt(inference)
    body = Receipt.objects.get().body
    assert (body["split"].pop("maker_wei"), body["price"].pop("maker_ppm")) == ("0", 0)
    assert verified(inference, split=body["split"], price=body["price"], schema=2).problems == []


@pytest.mark.django_db
def test_a_refund_takes_it_back_too(answer: Inference, payer: User, stranger: User) -> None:
    before = spendable_wei(payer)
    refund_answer(str(answer.public_id))
    assert spendable_wei(payer) == before + answer.fee_wei
    line = EarningLine.objects.get(role=EarningLine.Role.MAKER)
    assert line.state == EarningLine.State.REFUNDED
    assert reconcile().problems["I7"] == []


@pytest.mark.django_db
def test_what_is_held_and_what_a_budget_allows_count_it(dear: Agent, ask: Ask) -> None:
    prompt = dear.model.base.context_tokens
    most = price_wei(dear.model, prompt, 10)
    change_agent(
        agent=dear, answering=dear_answers(), answer_cap_wei=with_maker_part(most, QUARTER)
    )
    inference = ask("What is known about the tern?" * 200, agent=Agent.objects.get())
    assert inference.sampling["max_tokens"] == 10
    assert inference.hold.amount_wei == with_maker_part(most, QUARTER)


def dear_answers(maker_ppm: int = QUARTER) -> Answering:
    return Answering("", "look_up", 64, maker_ppm)


@pytest.mark.django_db
def test_another_price_is_another_version_and_a_pinned_one_is_not_asked_any_more(
    dear: Agent, ask: Ask
) -> None:
    asked, first = ask(agent=dear), dear.newest
    change_agent(agent=dear, answering=dear_answers(MAKER_PPM_MAX))
    assert (dear.newest.number, dear.newest.digest == first.digest) == (2, False)
    asked.refresh_from_db()
    assert asked.maker_ppm == QUARTER
    change_agent(agent=dear, answering=dear_answers(0))
    unpriced = AgentVersion(rows="look_up", max_tokens=64)
    assert dear.newest.digest == unpriced.digest_over(dear.model.adapter_digest)


@pytest.mark.django_db
def test_programs_read_the_price_and_the_name_that_pins_it(dear: Agent, secret: str) -> None:
    api = Client(headers={"authorization": f"Bearer {secret}"})
    listed = {one["id"]: one for one in api.get("/v1/models").json()["data"]}
    assert listed["agent/guide"]["pinned"] == f"agent/guide@{dear.newest.digest[:12]}"
    assert listed["agent/guide"]["pricing"] == listed["birds"]["pricing"] | {"maker_ppm": QUARTER}
    assert int(listed["birds"]["pricing"]["prompt_wei_per_1000"]) == dear.model.price_prompt_wei


@pytest.mark.django_db
def test_the_database_refuses_more_than_the_price_itself(dear: Agent) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        change_agent(agent=dear, answering=dear_answers(MAKER_PPM_MAX + 1))


@pytest.mark.django_db
def test_nobody_pays_another_part_than_the_page_said(
    dear: Agent, ask: Ask, as_user: SignIn, payer: User
) -> None:
    page = shown(as_user(payer), f"{PAGE}chat/")
    assert f'name="maker_ppm" value="{QUARTER}"' in page
    assert "25 % of that for the agent" in page
    change_agent(agent=dear, answering=dear_answers(MAKER_PPM_MAX))
    with pytest.raises(AgentPriceChanged, match="100 %"):
        ask(agent=dear, maker_ppm=QUARTER)
    late = as_user(payer).post(f"{PAGE}chat/", {"prompt": "Hi", "maker_ppm": QUARTER})
    assert (late.status_code, b"not charged" in late.content) == (409, True)
    assert not Inference.objects.exists()
    assert ask(agent=dear, maker_ppm=MAKER_PPM_MAX).maker_ppm == MAKER_PPM_MAX


@pytest.mark.django_db
def test_its_maker_sets_it_in_the_form_and_its_page_says_it_to_everybody(
    as_user: SignIn, client: Client, model: Model, stranger: User
) -> None:
    browser = as_user(stranger)
    assert browser.post(NEW, FORM | {"maker_percent": "12.5"})["Location"] == PAGE
    assert Agent.objects.get().newest.maker_ppm == 125_000
    assert "12.5 % on top" in shown(client, PAGE)
    assert 'value="12.5"' in shown(browser, f"{PAGE}edit/")


@pytest.mark.django_db
@pytest.mark.parametrize("percent", ["-1", "100.01", "0.001", "much"])
def test_a_part_out_of_bounds_is_said_beside_the_field(model: Model, percent: str) -> None:
    form = AgentForm(FORM | {"maker_percent": percent}, model=model)
    assert list(form.errors) == ["maker_percent"]


@pytest.mark.django_db
def test_the_least_budget_that_the_form_names_covers_it(model: Model, ask: Ask) -> None:
    asked = FORM | {"maker_percent": "30", "answer_cap": "0.00001"}
    form = AgentForm(asked, model=model)
    least = str(form.errors["answer_cap"][0]).split(" can cost ")[1].split(" OPEN")[0]
    again = AgentForm(asked | {"answer_cap": least, "caller_day": "5", "length": "64"}, model=model)
    assert again.is_valid()
    agent = make_agent(owner=model.owner, model=model, **again.as_arguments())
    inference = ask("x" * 4000, agent=agent)
    assert (inference.sampling["max_tokens"], exact_open(inference.hold.amount_wei)) == (1, least)


@pytest.mark.django_db
def test_the_receipt_and_the_makers_pages_show_it(
    answer: Inference, as_user: SignIn, payer: User, stranger: User
) -> None:
    receipt = shown(as_user(payer), f"/marketplace/answers/{answer.public_id}/receipt/")
    assert "Maker of the agent" in receipt
    assert "asked 25 % on top" in receipt
    assert "For its maker" in shown(as_user(stranger), PAGE)
    assert "Maker" in shown(as_user(stranger), "/rewards/earnings/")
    why = as_user(stranger).get(f"/marketplace/answers/{answer.public_id}/receipt/", follow=True)
    assert why.status_code == 200
