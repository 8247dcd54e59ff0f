"""A vote as its voter sees it in the browser: from delegation to the new split in force."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.browser import PHONE, Visitor, chromium, overflow_pixels, violations
from e2e.demo.person import PASSWORD
from e2e.site import Site, make_site
from e2e.wallet import Wallet
from openledger_site.core.waiting import rounds

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SOON_MS = 90_000
VOTES = "/rewards/governance/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of its own, whose votes take seconds."""
    folder: Path = tmp_path_factory.mktemp("votes")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # PostgreSQL drops to a user of its own when started as root
    running = make_site(
        folder,
        GOVERNANCE_VOTING_DELAY_SECONDS="8",
        GOVERNANCE_VOTING_PERIOD_SECONDS="60",
        GOVERNANCE_TIMELOCK_SECONDS="3",
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def sign_up(visitor: Visitor) -> None:
    page = visitor.visit("/accounts/signup/")
    page.get_by_label("Email").fill("vera@journey.example")
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("[name=password2]").fill(PASSWORD)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_text("Your account").wait_for(state="attached")
    page = visitor.visit("/accounts/profile/")
    page.get_by_role("button", name="Link a wallet").click()
    page.get_by_role("cell", name=re.compile("0x")).wait_for()


def press(page: Page, kind: str, button: str, words: str) -> None:
    """A wallet button, until the site has read what it did."""
    page.get_by_role("button", name=button, exact=True).click()
    status = page.locator(f"[data-wallet={kind}] [data-wallet-status]")
    expect(status).to_contain_text(words, timeout=SOON_MS)


def until_state(visitor: Visitor, path: str, state: str) -> Page:
    for _ in rounds(SOON_MS / 1000, pause_seconds=1):
        page = visitor.visit(path)
        if page.locator(".pill", has_text=re.compile(f"^{state}$", re.I)).count():
            return page
    raise AssertionError(f"{path} never became {state}: {visitor.words()}")


def test_a_vote_in_the_browser_changes_the_split(site: Site) -> None:
    with chromium() as browser:
        visitor = Visitor(browser, site.url, viewport=PHONE)
        wallet = Wallet(site.child_environment()["CHAIN_RPC_URL"])
        wallet.install(visitor.context)
        sign_up(visitor)
        given = site.manage("dev_faucet", wallet.address, "500")
        assert given.returncode == 0, given.stdout + given.stderr
        found: dict[str, list[str]] = {}

        def look(name: str) -> None:
            found[name] = violations(visitor.page)
            assert overflow_pixels(visitor.page) == 0, name

        page = visitor.visit(VOTES)
        look("votes")
        press(page, "delegate", "Delegate", "Delegated.")
        expect(page.get_by_text("itself", exact=True)).to_be_visible()
        look("delegated")

        page.get_by_role("link", name="Propose a change").click()
        look("choose")
        page.get_by_role("link", name="Fee split").click()
        shares = (("Contributors", 50), ("Builder", 40), ("Stakers", 5), ("Platform", 5))
        for label, share in shares:
            page.get_by_label(label).fill(str(share))
        page.get_by_label("Title").fill("More for builders")
        page.get_by_label("Why").fill("They bring the users.")
        page.get_by_role("button", name="See what it would do").click()
        expect(page.get_by_text("Split fees: Contributors 50 %")).to_be_visible()
        look("preview")
        press(page, "propose", "Propose", "Proposed.")
        page.locator("[data-wallet-credits] a").click()
        path = page.url.removeprefix(site.url)
        look("proposal")

        page = until_state(visitor, path, "Active")
        page.get_by_label("For", exact=True).check()
        look("vote")
        press(page, "vote", "Vote", "Your vote is counted.")
        page = until_state(visitor, path, "Succeeded")
        press(page, "queue", "Queue", "Done.")
        page = until_state(visitor, path, "Queued")
        time.sleep(4)  # the timelock
        press(page, "execute", "Carry out", "Done.")
        until_state(visitor, path, "Executed")
        look("executed")
        page = visitor.visit(VOTES)
        expect(page.get_by_text("is decided and counts from epoch 2 on")).to_be_visible()
        assert {name: words for name, words in found.items() if words} == {}
        assert visitor.problems == []
