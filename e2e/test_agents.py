"""An agent made without code is asked, refuses what no row is about, and is retired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from e2e.browser import Visitor, chromium
from e2e.walk import SOON_MS, Walk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture
def emil(walk: Walk) -> Iterator[Visitor]:
    with chromium() as browser:
        yield Visitor(browser, walk.site.url, storage_state=walk.sessions["Emil"])


def test_an_agent_is_asked_names_itself_on_the_receipt_and_is_retired(
    walk: Walk, emil: Visitor
) -> None:
    page = emil.visit("/marketplace/")
    page.get_by_role("link", name="Error helper").click()
    expect(page.get_by_text("Search the web")).to_be_visible()
    page.get_by_role("link", name="Chat with it").click()
    emil.wait_ready()
    expect(page.get_by_text("Which error did you meet?")).to_be_visible()
    page.get_by_label("Your question").fill("How long does a train to Oslo take?")
    page.keyboard.press("Enter")
    expect(page.locator(".chat-error")).to_contain_text("You were not charged", timeout=SOON_MS)
    page.get_by_label("Your question").fill("What does ZeroDivisionError mean?")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Receipt and sources").click(timeout=SOON_MS)
    expect(page.get_by_role("heading", name="The agent that was asked")).to_be_visible()
    emil.visit(walk.paths["agent"])
    page.get_by_role("button", name="Retire it").click()
    expect(page.get_by_role("button", name="Bring it back")).to_be_visible()
    page.get_by_role("button", name="Bring it back").click()
    expect(page.get_by_role("link", name="Chat with it")).to_be_visible()
    assert emil.problems == []
