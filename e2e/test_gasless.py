"""Somebody with OPEN and not a wei of ETH deposits and stakes in the browser by signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.browser import PHONE, Visitor, chromium, overflow_pixels, until, violations
from e2e.site import Site, make_site
from e2e.test_stakes import SOON_MS, begin_datanet, sign_up
from e2e.wallet import Wallet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("gasless")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # PostgreSQL drops to a user of its own when started as root
    running = make_site(folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def pay_in_open(page: Page, kind: str) -> None:
    """The fee is on the button, whole in its title; pressed, it goes on until the site read it."""
    pay = page.locator(f"[data-wallet={kind}] [data-relay-pay]")
    expect(pay).to_have_text(re.compile(r"in OPEN: 0\.\d+ OPEN"), timeout=SOON_MS)
    expect(pay).to_have_attribute("title", re.compile(r"At most 0\.\d+ OPEN \([\d,]+ wei\)"))
    expect(pay).to_be_focused()
    page.keyboard.press("Enter")
    status = page.locator(f"[data-wallet={kind}] [data-wallet-status]")
    expect(status).to_contain_text("Done.", timeout=SOON_MS)


def test_a_wallet_without_eth_deposits_and_stakes(site: Site) -> None:
    with chromium() as browser:
        visitor = Visitor(browser, site.url, viewport=PHONE)
        wallet = Wallet(site.child_environment()["CHAIN_RPC_URL"])
        wallet.install(visitor.context)
        sign_up(visitor, "gil@journey.example")
        given = site.manage("dev_faucet", wallet.address, "50")
        assert given.returncode == 0, given.stdout + given.stderr
        wallet.call("anvil_setBalance", wallet.address, "0x0")
        page, found = visitor.visit("/rewards/"), {}
        page.get_by_label("Amount").fill("20")
        page.get_by_role("button", name="Deposit from a wallet").click()
        expect(page.locator("[data-relay-pay]")).to_be_visible(timeout=SOON_MS)
        found["deposit"] = violations(page)
        assert overflow_pixels(page) == 0
        pay_in_open(page, "deposit")
        fee = "Network fee of a deposit"  # on hold until its transaction is final
        until(lambda: visitor.visit("/rewards/").get_by_text(fee).count() > 0, SOON_MS / 1000)

        begin_datanet(visitor, "Errors")
        page = visitor.page
        page.get_by_role("link", name="Stake on it").click()
        page.get_by_label("Amount in OPEN").fill("7")
        page.get_by_role("button", name="See what it means").click()
        page.get_by_role("button", name="Pay the network fee in OPEN").click()
        pay_in_open(page, "stake")
        found["stake"] = violations(page)
        expect(visitor.visit("/rewards/stakes/").get_by_text("Errors").first).to_be_visible()
        assert "eth_sendTransaction" not in wallet.asked
        assert int(wallet.call("eth_getBalance", wallet.address, "latest"), 16) == 0
        assert {name: words for name, words in found.items() if words} == {}
        assert visitor.problems == []
