"""A stake, an asset, a grant and a balance, as their owner sees them in browser and wallet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.browser import PHONE, Visitor, chromium, overflow_pixels, violations
from e2e.demo.person import PASSWORD
from e2e.site import Site, make_site
from e2e.wallet import Wallet
from openledger_site.core.waiting import rounds
from rewards.chain.assets import transfer_asset_call
from rewards.chain.calls import approve_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import WEI_PER_OPEN, Addresses, send_and_wait
from rewards.chain.staking import add_income_call, target_id
from rewards.chain.transactions import Signer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SOON_MS = 90_000
STAKES = "/rewards/stakes/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of its own, whose stakes leave in seconds."""
    folder: Path = tmp_path_factory.mktemp("stakes")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # PostgreSQL drops to a user of its own when started as root
    running = make_site(folder, STAKE_UNBONDING_SECONDS="20", STAKE_APPEAL_SECONDS="5")
    running.start()
    try:
        yield running
    finally:
        running.stop()


def sign_up(visitor: Visitor, email: str) -> None:
    page = visitor.visit("/accounts/signup/")
    page.get_by_label("Email").fill(email)
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("[name=password2]").fill(PASSWORD)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_text("Your account").wait_for(state="attached")
    page = visitor.visit("/accounts/profile/")
    page.get_by_role("button", name="Link a wallet").click()
    page.get_by_role("cell", name=re.compile("0x")).wait_for()


def begin_datanet(visitor: Visitor, name: str) -> None:
    page = visitor.visit("/datanets/new/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Description").fill("What errors mean.")
    page.get_by_label("Public").check()
    page.locator("[name=licence]").select_option("PSF-2.0")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name=name, level=1).wait_for()


def press(page: Page, kind: str, button: str, words: str) -> None:
    """A wallet button, until the site has read what it did."""
    page.get_by_role("button", name=button, exact=True).click()
    status = page.locator(f"[data-wallet={kind}] [data-wallet-status]")
    expect(status).to_contain_text(words, timeout=SOON_MS)
    expect(page.locator(f"[data-wallet={kind}] [data-live-done]")).to_be_visible(timeout=SOON_MS)


def until_there(visitor: Visitor, selector: str) -> Page:
    for _ in rounds(SOON_MS / 1000, pause_seconds=1):
        page = visitor.visit(STAKES)
        if page.locator(selector).count():
            return page
    raise AssertionError(f"{selector} never came: {visitor.words()}")


def give_income(site: Site, wallet: Wallet, target: str) -> None:
    """A gift to the stakers; income from answers is tested in rewards, on the same contract."""
    addresses = Addresses.load(site.folder / "chain" / "addresses-31337.json")
    client = ChainClient(site.child_environment()["CHAIN_RPC_URL"], 31337)
    signer = Signer(bytes(wallet.account.key), 31337)
    send_and_wait(client, signer, approve_call(addresses.token, addresses.staking, WEI_PER_OPEN))
    call = add_income_call(addresses.staking, bytes.fromhex(target[2:]), WEI_PER_OPEN)
    send_and_wait(client, signer, call)


def test_a_stake_in_the_browser_earns_and_comes_back(site: Site) -> None:
    with chromium() as browser:
        visitor = Visitor(browser, site.url, viewport=PHONE)
        rpc_url = site.child_environment()["CHAIN_RPC_URL"]
        wallet, giver = Wallet(rpc_url), Wallet(rpc_url)
        wallet.install(visitor.context)
        sign_up(visitor, "stan@journey.example")
        for address in (wallet.address, giver.address):
            given = site.manage("dev_faucet", address, "50")
            assert given.returncode == 0, given.stdout + given.stderr
        found: dict[str, list[str]] = {}

        def look(name: str) -> None:
            found[name] = violations(visitor.page)
            assert overflow_pixels(visitor.page) == 0, name

        visitor.visit(STAKES)
        look("no stakes")
        begin_datanet(visitor, "Errors")
        page = visitor.page
        page.get_by_role("link", name="Stake on it").click()
        expect(page.get_by_text("No yield is promised")).to_be_visible()
        look("target")
        page.get_by_label("Amount in OPEN").fill("30")
        page.get_by_role("button", name="See what it means").click()
        expect(page.get_by_text("100 %")).to_be_visible()
        look("preview")
        target = page.locator("[data-wallet=stake]").get_attribute("data-target") or ""
        press(page, "stake", "Stake from a wallet", "Staked.")

        give_income(site, giver, target)
        page = until_there(visitor, "[data-wallet=collect-income]")
        look("stake with income")
        press(page, "collect-income", "Collect the income", "Collected.")
        page = visitor.visit(STAKES)
        page.get_by_text("Leave", exact=True).first.click()
        press(page, "leave-stake", "Leave", "On its way out.")
        page = until_there(visitor, "[data-wallet=take-out]")
        look("ready to take out")
        press(page, "take-out", "Take it out", "Taken out.")
        expect(visitor.visit(STAKES).get_by_text("You have no stake")).to_be_visible()
        assert {name: words for name, words in found.items() if words} == {}
        assert visitor.problems == []


def give_asset(site: Site, wallet: Wallet, to: str, subject: str) -> None:
    """As any wallet does it: a transfer of the token, sent without the site."""
    addresses = Addresses.load(site.folder / "chain" / "addresses-31337.json")
    client = ChainClient(site.child_environment()["CHAIN_RPC_URL"], 31337)
    signer = Signer(bytes(wallet.account.key), 31337)
    token = bytes.fromhex(target_id(subject)[2:])
    send_and_wait(client, signer, transfer_asset_call(addresses.assets, signer.address, to, token))


def test_a_datanet_goes_on_chain_and_its_page_follows_the_token(site: Site) -> None:
    with chromium() as browser:
        visitor = Visitor(browser, site.url, viewport=PHONE)
        rpc_url = site.child_environment()["CHAIN_RPC_URL"]
        wallet, buyer = Wallet(rpc_url), Wallet(rpc_url)
        wallet.install(visitor.context)
        sign_up(visitor, "asa@journey.example")
        given = site.manage("dev_faucet", wallet.address, "1")
        assert given.returncode == 0, given.stdout + given.stderr
        begin_datanet(visitor, "Owned errors")
        page = visitor.page
        found: dict[str, list[str]] = {}

        def look(name: str) -> None:
            found[name] = violations(page)
            assert overflow_pixels(page) == 0, name

        page.get_by_role("link", name="Make it an asset").click()
        page.get_by_label("Royalty in per cent").fill("2.5")
        look("form")
        page.get_by_role("button", name="Make the token").click()
        expect(page.get_by_text("2.5 % of a sale")).to_be_visible(timeout=SOON_MS)
        look("on chain")
        metadata = page.request.get(page.get_by_role("link", name="JSON").get_attribute("href"))
        assert metadata.json()["name"] == "Owned errors"
        subject = f"datanet:{metadata.json()['properties']['id']}"
        give_asset(site, wallet, buyer.address, subject)
        for _ in rounds(SOON_MS / 1000, pause_seconds=1):
            page.reload()
            if page.get_by_text("linked to nobody here").count():
                break
        expect(page.get_by_text("linked to nobody here")).to_be_visible()
        look("another holder")
        assert {name: words for name, words in found.items() if words} == {}
        assert visitor.problems == []


def test_a_beneficiary_releases_what_is_unlocked(site: Site) -> None:
    with chromium() as browser:
        visitor = Visitor(browser, site.url, viewport=PHONE)
        wallet = Wallet(site.child_environment()["CHAIN_RPC_URL"])
        wallet.install(visitor.context)
        sign_up(visitor, "gale@journey.example")
        unlocks, found = "/rewards/explorer/unlocks/", {}
        expect(visitor.visit(unlocks).get_by_text("Nothing was granted yet")).to_be_visible()
        found["empty"] = violations(visitor.page)
        given = site.manage("dev_faucet", wallet.address, "1")
        assert given.returncode == 0, given.stdout + given.stderr
        made = site.manage("dev_grant", wallet.address, "1200", "--began-days-ago", "400")
        assert made.returncode == 0, made.stdout + made.stderr
        for _ in rounds(SOON_MS / 1000, pause_seconds=1):
            page = visitor.visit(unlocks)
            if page.locator("[data-wallet=release]").count():
                break
        page.get_by_text("The same numbers as a table").click()
        found["with a grant"] = violations(page)
        assert overflow_pixels(page) == 0
        press(page, "release", "Release", "Released.")
        expect(visitor.visit(unlocks).locator("[data-wallet=release]")).to_have_count(1)
        assert visitor.page.locator("dd", has_text="OPEN").nth(2).inner_text().startswith("328")
        assert {name: words for name, words in found.items() if words} == {}
        assert visitor.problems == []


def test_a_balance_comes_from_a_wallet_and_goes_back_to_it(site: Site) -> None:
    with chromium() as browser:
        visitor = Visitor(browser, site.url, viewport=PHONE)
        wallet = Wallet(site.child_environment()["CHAIN_RPC_URL"])
        wallet.install(visitor.context)
        sign_up(visitor, "hugo@journey.example")
        given = site.manage("dev_faucet", wallet.address, "5")
        assert given.returncode == 0, given.stdout + given.stderr
        page, found = visitor.visit("/rewards/"), {}
        expect(page.get_by_text("No withdrawal yet.")).to_be_visible()
        page.get_by_label("Amount in OPEN").fill("3")
        page.get_by_role("button", name="Deposit from a wallet").click()
        status = page.locator("[data-wallet=deposit] [data-wallet-status]")
        expect(status).to_contain_text("Credited", timeout=SOON_MS)
        page = visitor.visit("/rewards/")
        page.get_by_label("OPEN to withdraw").fill("0.5")
        page.get_by_role("button", name="Withdraw", exact=True).click()
        expect(page.get_by_text("Withdraw at least 1 OPEN at once.")).to_be_visible()
        page.get_by_label("OPEN to withdraw").fill("2")
        page.get_by_role("button", name="Withdraw", exact=True).click()
        page.get_by_role("heading", name="Withdrawal", level=1).wait_for()
        expect(page.get_by_text("paid", exact=True)).to_be_visible(timeout=SOON_MS)
        found["paid"] = violations(page)
        assert overflow_pixels(page) == 0
        page = visitor.visit("/rewards/")
        assert visitor.figures()["To spend"].split()[0] == "1"
        found["balance"] = violations(page)
        addresses = Addresses.load(site.folder / "chain" / "addresses-31337.json")
        client = ChainClient(site.child_environment()["CHAIN_RPC_URL"], 31337)
        assert client.balance_of(addresses.token, wallet.address) == 4 * WEI_PER_OPEN
        assert {name: words for name, words in found.items() if words} == {}
