"""The pages of stakes: whose figures they show, to whom, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from rewards.chain.contracts import Addresses
from rewards.chain.staking import target_id
from rewards.models import (
    Account,
    ChainTransaction,
    IncomePayment,
    IncomeRound,
    SlashAppeal,
    SlashCase,
    StakePosition,
    StakeTarget,
    StakeUnbonding,
    StakingReading,
)
from rewards.selectors import subjects as stake_subjects
from rewards.selectors.subjects import register_stake_subject
from rewards.services.ledger import post, system_account
from rewards.tests.conftest import OPEN, signed_in

pytestmark = pytest.mark.django_db
ID, HIDDEN = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
SUBJECT = f"thing:{ID}"
PAGE = f"/rewards/stakes/thing/{ID}/"
WALLET = "0x" + "Ab" * 20
WORDS = "Half of the rows were copied."


@pytest.fixture(autouse=True)
def _things(owner: User) -> Iterator[None]:
    """An app above with two things, of which the second is hidden from everybody."""

    def describe(user: Any, ids: Collection[UUID]) -> dict[UUID, tuple[str, str, int]]:
        return {each: ("Errors & more", "/things/1/", owner.pk) for each in ids if str(each) == ID}

    register_stake_subject("thing", describe)
    yield
    del stake_subjects._describers["thing"]


@pytest.fixture(autouse=True)
def _deployed(settings: Settings, tmp_path: Any) -> None:
    token, escrow, distributor, anchors = (f"0x{number:040x}" for number in range(1, 5))
    addresses = Addresses(31337, token, escrow, distributor, anchors, 1, "0x1", "x", staking=WALLET)
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "addresses.json"
    addresses.save(settings.CHAIN_ADDRESSES_FILE)
    StakingReading.objects.create(
        chain_id=31337,
        unbonding_seconds=14 * 86_400,
        appeal_seconds=7 * 86_400,
        total_staked_wei=3 * OPEN,
        total_income_wei=0,
        is_solvent=True,
        read_block=9,
    )


@pytest.fixture
def staked(contributor: User) -> StakeTarget:
    """Carla has 2 of the 3 OPEN bonded, and 1 OPEN on its way out."""
    Wallet.objects.create(user=contributor, address=WALLET, chain_id=31337)
    place = {"chain_id": 31337, "target": target_id(SUBJECT)}
    StakePosition.objects.create(**place, account=WALLET, shares=2 * OPEN, income_owed_wei=7)
    StakePosition.objects.create(**place, account="0x" + "Cd" * 20, shares=OPEN)
    StakeUnbonding.objects.create(
        **place,
        account=WALLET,
        number=1,
        shares=OPEN,
        releasable_at=timezone.now() + timedelta(days=1),
    )
    return StakeTarget.objects.create(
        **place,
        subject=SUBJECT,
        bonded_wei=3 * OPEN,
        bonded_shares=3 * OPEN,
        unbonding_wei=OPEN,
        unbonding_shares=OPEN,
    )


def test_everybody_sees_what_is_staked_and_the_promise_that_is_not_made() -> None:
    page = Client().get(PAGE).content.decode()
    assert "No yield is promised" in page
    assert "Errors &amp; more" in page
    assert "&amp;amp;" not in page


def test_a_hidden_thing_looks_like_one_that_does_not_exist(owner: User) -> None:
    paths = [PAGE.replace(ID, HIDDEN), PAGE.replace("thing", "nothing")]
    for path in (*paths, *(f"{path}panel/" for path in paths)):
        assert Client().get(path).status_code == 404
        assert signed_in(owner).get(path).status_code == 404


def test_one_sees_ones_own_stakes_and_nobody_elses(
    staked: StakeTarget, contributor: User, consumer: User
) -> None:
    own = signed_in(contributor).get("/rewards/stakes/").content.decode()
    assert 'data-wallet="collect-income"' in own
    assert 'data-wallet="leave-stake"' in own
    assert 'data-wallet="take-out"' not in own  # not ready
    assert 'title="2,000,000,000,000,000,000 wei"' in own
    other = signed_in(consumer).get("/rewards/stakes/").content.decode()
    assert "You have no stake" in other
    assert "leave-stake" not in other
    assert "Errors &amp; more" in other  # what others stake on is public


def test_what_is_ready_can_be_taken_out(staked: StakeTarget, contributor: User) -> None:
    StakeUnbonding.objects.update(releasable_at=timezone.now())
    page = signed_in(contributor).get("/rewards/stakes/").content.decode()
    assert 'data-wallet="take-out"' in page


def test_while_a_slash_is_open_nobody_is_offered_a_way_out(
    staked: StakeTarget, contributor: User
) -> None:
    StakeUnbonding.objects.update(releasable_at=timezone.now())
    StakeTarget.objects.update(slash_executable_at=timezone.now() + timedelta(hours=1))
    page = signed_in(contributor).get("/rewards/stakes/").content.decode()
    assert "A slash is open" in page
    assert 'data-wallet="take-out"' not in page
    assert 'data-wallet="leave-stake"' not in page


def test_a_preview_says_what_it_means_and_offers_the_wallet(
    staked: StakeTarget, consumer: User
) -> None:
    answer = signed_in(consumer).post(f"{PAGE}preview/", {"amount": "1"})
    page = answer.content.decode()
    assert (answer.status_code, 'data-amount-wei="1000000000000000000"' in page) == (200, True)
    assert "25 %" in page
    assert "14 days after you leave" in page


@pytest.mark.parametrize("amount", ["", "0", "0.5", "-1", "1e9", "one", "9" * 61])
def test_a_wrong_amount_is_refused_with_a_remedy(consumer: User, amount: str) -> None:
    answer = signed_in(consumer).post(f"{PAGE}preview/", {"amount": amount})
    assert answer.status_code == 422
    assert 'data-wallet="stake"' not in answer.content.decode()


def test_a_preview_remembers_what_the_target_stands_for(consumer: User) -> None:
    for _ in range(2):
        signed_in(consumer).post(f"{PAGE}preview/", {"amount": "1"})
    assert StakeTarget.objects.get().subject == SUBJECT


def test_the_panel_is_a_part_of_a_page(staked: StakeTarget, contributor: User) -> None:
    page = signed_in(contributor).get(f"{PAGE}panel/").content.decode()
    assert "<html" not in page
    assert "Your stake" in page
    assert "Your stake" not in Client().get(f"{PAGE}panel/").content.decode()


def test_without_the_contract_the_pages_say_so(settings: Settings, consumer: User) -> None:
    settings.CHAIN_ADDRESSES_FILE.unlink()
    for path in (PAGE, "/rewards/stakes/"):
        assert "not deployed" in signed_in(consumer).get(path).content.decode()


def test_more_stakes_cost_no_more_queries(
    staked: StakeTarget, contributor: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        StakePosition.objects.create(
            chain_id=31337, target=f"0x{number:064x}", account=WALLET, shares=1
        )
        StakeTarget.objects.create(
            chain_id=31337, target=f"0x{number:064x}", bonded_wei=1, bonded_shares=1
        )
    client = signed_in(contributor)
    with django_assert_max_num_queries(25):
        client.get("/rewards/stakes/")


# Slashes


def allowed(user: User, *names: str) -> Client:
    user.is_staff = True
    user.save()
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return signed_in(user)


@pytest.fixture
def case(staked: StakeTarget, reviewer: User, owner: User) -> SlashCase:
    return SlashCase.objects.create(
        owner=owner,
        chain_id=31337,
        target=staked.target,
        subject=SUBJECT,
        amount_wei=OPEN // 10,
        decision=WORDS,
        evidence="0x" + "1" * 64,
        state="announced",
        executable_at=timezone.now() + timedelta(days=1),
        decided_by=reviewer,
    )


def test_only_staff_with_the_right_announces_a_slash(
    staked: StakeTarget, consumer: User, reviewer: User
) -> None:
    form = {"amount": "0.4", "decision": WORDS}
    reviewer.is_staff = True
    reviewer.save()
    for client in (signed_in(consumer), signed_in(reviewer)):
        assert client.get(f"{PAGE}slash/").status_code == 404
        assert client.post(f"{PAGE}slash/", form).status_code == 404
    answer = allowed(reviewer, "decide_slash").post(f"{PAGE}slash/", form)
    assert (answer.status_code, answer["Location"]) == (302, PAGE)
    case = SlashCase.objects.get()
    assert (case.amount_wei, case.decision, case.state) == (4 * OPEN // 10, WORDS, "decided")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"amount": "0.5", "decision": WORDS}, "At most 0.4 OPEN"),
        ({"amount": "0", "decision": WORDS}, "above zero"),
        ({"amount": "0.1", "decision": "Short."}, "at least 20"),
    ],
)
def test_a_slash_form_says_what_is_wrong(
    staked: StakeTarget, reviewer: User, form: dict[str, str], words: str
) -> None:
    answer = allowed(reviewer, "decide_slash").post(f"{PAGE}slash/", form)
    assert (answer.status_code, words in answer.content.decode()) == (422, True)


def test_the_words_of_a_decision_are_for_who_is_concerned(
    case: SlashCase, owner: User, contributor: User, consumer: User
) -> None:
    for client in (signed_in(owner), signed_in(contributor)):
        assert WORDS in client.get(PAGE).content.decode()
    for client in (Client(), signed_in(consumer)):
        page = client.get(PAGE).content.decode()
        assert WORDS not in page
        assert "0x111111" in page  # its hash is on chain anyway


APPEAL = "These rows are ours, we wrote them in the ward."


def test_who_loses_by_a_slash_appeals_once_and_the_arbiters_read_it(
    case: SlashCase, owner: User, contributor: User, consumer: User, reviewer: User
) -> None:
    path, form = f"/rewards/slashes/{case.public_id}/appeal/", {"words": APPEAL}
    assert signed_in(consumer).post(path, form).status_code == 404
    assert signed_in(owner).post(path, {"words": "No."}).status_code == 422
    for client in (signed_in(owner), signed_in(contributor)):
        assert "Send the appeal" in client.get(PAGE).content.decode()
        assert client.post(path, form).status_code == 302
        assert client.post(path, form | {"words": APPEAL * 2}).status_code == 409
    assert [appeal.as_whom for appeal in case.appeals.all()] == ["owner", "staker"]
    arbiter = allowed(consumer, "overturn_slash")
    assert "2 appeals against a slash" in arbiter.get("/rewards/stakes/").content.decode()
    assert APPEAL in arbiter.get(PAGE).content.decode()
    assert APPEAL not in Client().get(PAGE).content.decode()


def test_nobody_appeals_after_the_window(case: SlashCase, owner: User) -> None:
    SlashCase.objects.update(executable_at=timezone.now() - timedelta(seconds=1))
    path = f"/rewards/slashes/{case.public_id}/appeal/"
    assert signed_in(owner).post(path, {"words": APPEAL}).status_code == 409
    assert not SlashAppeal.objects.exists()


def test_an_arbiter_overturns_and_its_author_may_not(
    case: SlashCase, consumer: User, reviewer: User
) -> None:
    path, form = f"/rewards/slashes/{case.public_id}/overturn/", {"reason": "They were her own."}
    assert signed_in(consumer).post(path, form).status_code == 404
    assert allowed(reviewer, "overturn_slash").post(path, form).status_code == 409
    arbiter = allowed(consumer, "overturn_slash")
    assert "Overturn it" in arbiter.get(PAGE).content.decode()
    assert arbiter.post(path, {}).status_code == 422
    assert arbiter.post(path, form).status_code == 302
    case.refresh_from_db()
    assert (case.overturned_by, case.overturn_reason) == (consumer, "They were her own.")


def test_a_stake_event_is_done_once_the_site_has_read_it(consumer: User) -> None:
    for sought in ("", "0x1", "0x" + "1" * 64):
        answer = signed_in(consumer).get("/rewards/stakes/state/", {"transaction": sought})
        assert (answer.status_code, "data-live-done" in answer.content.decode()) == (200, False)


def test_a_new_cast_member(make_user: Callable[..., User]) -> None:
    """Somebody without wallets has an empty page with a next step."""
    page = signed_in(make_user("Nia")).get("/rewards/stakes/").content.decode()
    assert "Browse Datanets" in page
    assert "Link a wallet" in page


def test_each_payment_is_told_with_its_answers_and_its_transaction(
    staked: StakeTarget, contributor: User
) -> None:
    """Rows as a round leaves them; how they come about is tested in test_stake_income."""
    sent = ChainTransaction.objects.create(
        chain_id=31337, purpose="income", subject="x", state="final", nonce=1, sender=WALLET,
        transaction_hash="0x" + "9" * 64,
    )  # fmt: skip
    round_ = IncomeRound.objects.create(
        number=1, chain_id=31337, staking=WALLET, treasury=WALLET, state="done",
        targets_wei=5, treasury_wei=6, withdraw_wei=5,
    )  # fmt: skip
    pool, custody = (system_account(kind) for kind in (Account.Kind.STAKERS, Account.Kind.CUSTODY))
    posted = post(key="t", kind="stakers", legs=[(pool, 5), (custody, -5)], reason="T")
    IncomePayment.objects.create(
        round=round_, target=staked.target, subject=SUBJECT, amount_wei=5, state="paid",
        chain_transaction=sent, transaction=posted,
    )  # fmt: skip
    page = Client().get(PAGE).content.decode()
    assert "Income paid in" in page
    assert "0x999999" in page
    assert 'title="5 wei"' in page
    assert "to the treasury" in signed_in(contributor).get("/rewards/stakes/").content.decode()
