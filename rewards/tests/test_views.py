"""The pages of money: whose figures they show, to whom, and what they refuse."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from openledger_site.accounts.services import create_api_key
from rewards.models import Account, Epoch, PayoutFreeze, ReconcileRun
from rewards.selectors import earnings_summary, forecast_of
from rewards.services import place_hold, refund_answer, release_earnings, settle_answer
from rewards.services.ledger import post, system_account, user_account
from rewards.tests.conftest import OPEN, Fund, settled

pytestmark = pytest.mark.django_db
STATEMENTS = ["/rewards/statement.csv", "/rewards/statement.json"]
PRIVATE = ["/rewards/", "/rewards/earnings/", "/rewards/deposits/", "/rewards/claims/"]
PUBLIC = ["/rewards/epochs/", "/rewards/status/"]


@pytest.fixture
def paid(consumer: User, builder: User, contributor: User, fund: Fund, settings: Settings) -> None:
    """Quinn has paid half an OPEN; Bo and Carla have earned from it."""
    settings.EARNINGS_HOLDING_SECONDS = 0
    fund(consumer, 3 * OPEN)
    settle_answer(
        hold=place_hold(consumer, OPEN, key="a", reason="Answer"),
        key="a",
        fee_wei=OPEN // 2,
        builder=builder,
        contributor_shares=[(contributor.pk, 1)],
        reason="Answer",
        source_url="/receipts/1/",
    )
    release_earnings()


@pytest.mark.parametrize(("right", "lifted"), [("view", False), ("change", True)])
def test_a_freeze_is_lifted_by_those_who_may_and_not_by_those_who_look(
    client: Client, make_user: Callable[..., User], right: str, lifted: bool
) -> None:
    freeze = PayoutFreeze.objects.create(reason="The books differ.")
    staff = make_user("Lou", is_staff=True)
    for codename in {"view_payoutfreeze", f"{right}_payoutfreeze"}:
        staff.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    form = {"action": "lift", "_selected_action": [freeze.pk]}
    client.post(reverse("admin:rewards_payoutfreeze_changelist"), form)
    freeze.refresh_from_db()
    assert (freeze.lifted_at is not None) is lifted


@pytest.fixture
def epoch(db: None) -> Epoch:
    """A closed epoch row; its path through the chain is tested in test_epochs."""
    dust, custody = system_account(Account.Kind.DUST), system_account(Account.Kind.CUSTODY)
    row = post(key="epoch:1", kind="epoch", legs=[(dust, 1), (custody, -1)], reason="Epoch 1")
    return Epoch.objects.create(
        number=1,
        root="0x" + "a" * 64,
        leaves=1,
        amount_wei=OPEN,
        total_wei=OPEN,
        leaf_file="0" * 64,
        distributor="0x" + "1" * 40,
        chain_id=31337,
        transaction=row,
    )


@pytest.mark.parametrize("path", [*PRIVATE, *STATEMENTS])
def test_a_private_page_asks_anonymous_visitors_to_sign_in(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, "login" in response.headers["Location"]) == (302, True)


@pytest.mark.parametrize("path", PUBLIC)
def test_anybody_can_read_the_public_pages(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", PRIVATE)
def test_a_page_shows_nothing_of_other_people(
    client: Client, paid: None, stranger: User, path: str
) -> None:
    client.force_login(stranger)
    response = client.get(path)
    assert response.status_code == 200
    assert b"/receipts/1/" not in response.content


@pytest.mark.parametrize("path", [*PRIVATE, *PUBLIC, *STATEMENTS])
def test_pages_refuse_to_be_posted_to(client: Client, stranger: User, path: str) -> None:
    client.force_login(stranger)
    assert client.post(path).status_code == 405


def test_the_balance_page_shows_what_is_left_and_why(
    client: Client, paid: None, consumer: User
) -> None:
    client.force_login(consumer)
    content = client.get("/rewards/").content.decode()
    assert f'value="{5 * OPEN // 2}"' in content
    assert 'href="/receipts/1/"' in content


def test_the_earnings_page_shows_each_line_with_its_receipt(
    client: Client, paid: None, contributor: User
) -> None:
    client.force_login(contributor)
    content = client.get("/rewards/earnings/").content.decode()
    assert f'value="{OPEN * 35 // 100}"' in content
    assert 'href="/receipts/1/"' in content


@pytest.mark.parametrize("path", ["/rewards/", "/rewards/earnings/"])
def test_a_page_number_out_of_range_shows_the_nearest_page(
    client: Client, paid: None, consumer: User, path: str
) -> None:
    client.force_login(consumer)
    for page in ("99999999999999999999", "null", "-1"):
        assert client.get(path, {"page": page}).status_code == 200


def test_the_number_of_queries_does_not_grow_with_the_statement(
    client: Client,
    consumer: User,
    fund: Callable[[User, int], None],
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(20):
        fund(consumer, 1)
    client.force_login(consumer)
    with django_assert_max_num_queries(16):
        client.get("/rewards/")


def test_the_statement_exports_every_entry_and_no_formula(client: Client, consumer: User) -> None:
    legs = [
        (system_account(Account.Kind.CUSTODY), -5),
        (user_account(consumer, Account.Kind.SPENDABLE), 5),
    ]
    post(key="k", kind="deposit", legs=legs, reason="=HYPERLINK(1)")
    client.force_login(consumer)
    content = b"".join(client.get("/rewards/statement.csv")).decode()
    (row,) = csv.DictReader(content.splitlines())
    assert (row["amount_wei"], row["balance_after_wei"]) == ("5", "5")
    assert row["reason"] == "'=HYPERLINK(1)"
    (same,) = json.loads(b"".join(client.get("/rewards/statement.json")))
    assert same == {**row, "reason": "=HYPERLINK(1)"}


def test_an_empty_statement_is_a_table_without_rows(client: Client, stranger: User) -> None:
    client.force_login(stranger)
    assert json.loads(b"".join(client.get("/rewards/statement.json"))) == []


def test_an_epoch_page_is_public_and_a_missing_one_is_404(client: Client, epoch: Epoch) -> None:
    assert epoch.root in client.get("/rewards/epochs/1/").content.decode()
    assert client.get("/rewards/epochs/2/").status_code == 404
    assert client.get("/rewards/epochs/2/leaves.json").status_code == 404


def test_only_staff_closes_an_epoch(client: Client, stranger: User) -> None:
    client.force_login(stranger)
    assert client.post("/rewards/epochs/close/").status_code == 404
    assert client.get("/rewards/epochs/close/").status_code == 405


def test_closing_before_deployment_is_refused_in_words(
    client: Client, make_user: Callable[..., User], settings: Settings, tmp_path: object
) -> None:
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "none.json"  # type: ignore[operator]
    client.force_login(make_user("Stan", is_staff=True))
    response = client.post("/rewards/epochs/close/", headers={"accept": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "contracts_missing")


def test_the_status_page_says_what_the_last_check_found(client: Client) -> None:
    checks = {"I1": {"ok": False, "problems": ["secret key: 1 legs"]}}
    ReconcileRun.objects.create(ok=False, unexplained_wei=7, report={"checks": checks})
    content = client.get("/rewards/status/").content.decode()
    assert "7 wei" in content
    assert "secret key" not in content  # keys and addresses are for staff
    assert "Each transaction sums to zero." in content
    assert content.count("Not compared") == 11  # the other checks are not in this report


def test_who_is_signed_out_is_led_to_the_public_pages_of_rewards(
    client: Client, consumer: User
) -> None:
    header = '<a class="" href="/rewards/explorer/" aria-current="page">Rewards</a>'
    assert header in client.get("/rewards/status/").content.decode()
    assert "/rewards/earnings/" not in client.get("/rewards/status/").content.decode()
    client.force_login(consumer)
    assert "/rewards/earnings/" in client.get("/rewards/status/").content.decode()


def test_a_key_without_the_scope_reads_no_balance(client: Client, consumer: User) -> None:
    _, secret = create_api_key(consumer, name="chat", scopes=["inference"])
    headers = {"authorization": f"Bearer {secret}"}
    assert client.get("/rewards/api/balance", headers=headers).status_code == 403
    assert client.get("/rewards/api/balance").status_code == 401


def test_a_key_with_the_scope_reads_its_own_balance(
    client: Client, paid: None, consumer: User
) -> None:
    _, secret = create_api_key(consumer, name="books", scopes=["rewards"])
    headers = {"authorization": f"Bearer {secret}"}
    answer = client.get("/rewards/api/balance", headers=headers).json()
    assert answer["spendable_wei"] == str(5 * OPEN // 2)
    assert answer["spendable_open"] == "2.5"
    assert client.get("/rewards/api/claim", headers=headers).json() == {"claims": []}


def test_the_wallet_that_is_paid_is_the_one_linked_first(client: Client, consumer: User) -> None:
    for digit in "12":
        Wallet.objects.create(user=consumer, address="0x" + digit * 40, chain_id=31337)
    client.force_login(consumer)
    content = client.get("/rewards/").content.decode()
    assert content.index("0x" + "1" * 40) < content.index("is paid your earnings")
    assert content.count("is paid your earnings") == 1


def test_the_forecast_counts_what_can_still_be_refunded_and_says_until_when(
    client: Client,
    consumer: User,
    builder: User,
    contributor: User,
    fund: Fund,
    settings: Settings,
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 3600
    fund(consumer, 3 * OPEN)
    for key in ("kept", "given back"):
        settled(consumer, builder, contributor, key)
    refund_answer("given back")
    found = forecast_of(contributor, earnings_summary(contributor))
    assert found.coming_wei == found.month_wei == OPEN * 70 // 100
    assert found.from_time is not None
    client.force_login(contributor)
    assert "closes after" in client.get("/rewards/earnings/").content.decode()
    assert forecast_of(consumer, earnings_summary(consumer)).coming_wei == 0
