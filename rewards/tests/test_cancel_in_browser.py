"""A withdrawal cancelled by hand in a real browser: by keys, beside a list that moves, without
scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from openledger_site.accounts.models import User, Wallet
from rewards.chain.contracts import Addresses
from rewards.models import Withdrawal
from rewards.selectors import spendable_wei
from rewards.services.withdrawals import ask_withdrawal
from rewards.tests.conftest import OPEN, Fund, signed_in

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed"),
]
ADDRESS = "0x" + "1" * 40
DIALOG = "Cancel this withdrawal?"


@pytest.fixture
def withdrawal(consumer: User, fund: Fund, settings: Settings, tmp_path: Path) -> Withdrawal:
    """Quinn's, of one of three OPEN; no sender is at work."""
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "addresses.json"
    settings.CHAIN_RPC_URL = "http://127.0.0.1:1"
    zero = "0x" + "0" * 40
    Addresses(31337, zero, zero, zero, zero, 1, "", "").save(settings.CHAIN_ADDRESSES_FILE)
    fund(consumer, 3 * OPEN)
    Wallet.objects.create(user=consumer, address=ADDRESS, chain_id=31337)
    return ask_withdrawal(user=consumer, address=ADDRESS, amount_wei=OPEN)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread; Django would refuse its own clean-up queries.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield opened
        opened.close()


def balance_page(browser: Browser, live_server: LiveServer, user: User, **options: Any) -> Page:
    context = browser.new_context(base_url=live_server.url, **options)
    name = site.SESSION_COOKIE_NAME
    session = signed_in(user).cookies[name].value
    context.add_cookies([{"name": name, "value": session, "url": live_server.url}])
    page = context.new_page()
    page.goto("/rewards/")
    return page


def cancelled(page: Page, user: User) -> None:
    expect(page.get_by_text("Cancelled: 1 OPEN are back on your balance.")).to_be_visible()
    assert spendable_wei(user) == 3 * OPEN


def test_it_is_cancelled_by_keys_while_the_list_is_fetched_again(
    browser: Browser, live_server: LiveServer, withdrawal: Withdrawal, consumer: User
) -> None:
    page = balance_page(browser, live_server, consumer)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.get_by_role("link", name="Cancel… the withdrawal of 1 OPEN").press("Enter")
    dialog = page.get_by_role("dialog", name=DIALOG)
    with page.expect_response("**/rewards/withdrawals/"):
        expect(dialog).to_be_visible()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Keep it").press("Enter")
    expect(dialog).not_to_be_visible()
    page.get_by_role("link", name="Cancel… the withdrawal of 1 OPEN").press("Enter")
    dialog.get_by_role("button", name="Cancel the withdrawal").press("Enter")
    cancelled(page, consumer)
    assert problems == []


def test_one_that_the_open_page_does_not_know_yet_leads_to_its_own_page(
    browser: Browser, live_server: LiveServer, withdrawal: Withdrawal, consumer: User
) -> None:
    page = balance_page(browser, live_server, consumer)
    ask_withdrawal(user=consumer, address=ADDRESS, amount_wei=2 * OPEN)
    page.get_by_role("link", name="Cancel… the withdrawal of 2 OPEN").click()
    page.get_by_role("button", name="Cancel…").click()
    expect(page.get_by_role("dialog", name=DIALOG)).to_contain_text("2 OPEN go back")


def test_it_is_cancelled_without_scripts(
    browser: Browser, live_server: LiveServer, withdrawal: Withdrawal, consumer: User
) -> None:
    page = balance_page(browser, live_server, consumer, java_script_enabled=False)
    page.get_by_role("link", name="Cancel… the withdrawal of 1 OPEN").click()
    page.get_by_role("button", name="Cancel: back on your balance, nothing is sent").click()
    cancelled(page, consumer)
