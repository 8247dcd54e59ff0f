"""Each page by itself: light and dark, desk and phone, and the vital ones without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from e2e.browser import DESK, PHONE, Visitor, chromium, overflow_pixels, violations
from e2e.demo.person import PASSWORD
from e2e.walk import QUESTION, SOON_MS, email_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

# Whose page, and where: an address, or the name of a place that the walk came to.
PAGES = [
    ("", "/"),
    ("", "/accounts/login/"),
    ("", "/accounts/signup/"),
    ("", "/accounts/password/reset/"),
    ("", "/datanets/"),
    ("", "/marketplace/"),
    ("", "datanet"),
    ("", "model"),
    ("Ada", "/"),
    ("Ada", "/accounts/profile/"),
    ("Ada", "/accounts/profile/close/"),
    ("Ada", "/accounts/keys/"),
    ("Ada", "/accounts/email/"),
    ("Ada", "/accounts/2fa/"),
    ("Ada", "/accounts/password/change/"),
    ("Ada", "/datanets/contributions/"),
    ("Ada", "contribution of Ada"),
    ("Ada", "/rewards/earnings/"),
    ("Cleo", "/datanets/new/"),
    ("Cleo", "datanet"),
    ("Cleo", "review"),
    ("Cleo", "review/quality"),
    ("Cleo", "review/again"),
    ("Cleo", "rows"),
    ("Cleo", "card"),
    ("", "rows"),
    ("Cleo", "members"),
    ("Cleo", "requests"),
    ("Cleo", "log"),
    ("Cleo", "contribute"),
    ("Cleo", "version"),
    ("Cleo", "record"),
    ("Cleo", "/rewards/epochs/"),
    ("Cleo", "epoch"),
    ("Cleo", "/rewards/status/"),
    ("Ada", "/rewards/reputation/"),
    ("", "person"),
    ("", "asset"),
    ("Dora", "asset"),
    ("", "/rewards/explorer/"),
    ("Cleo", "/rewards/explorer/anchors/"),
    ("", "/rewards/explorer/contracts/"),
    ("", "/rewards/explorer/days/"),
    ("", "/rewards/explorer/unlocks/"),
    ("Emil", "/rewards/explorer/unlocks/"),
    ("", "address"),
    ("Cleo", "/rewards/stakes/"),
    ("Cleo", "stakes"),
    ("", "stakes"),
    ("Ada", "stakes of Ada"),
    ("Cleo", "/rewards/governance/"),
    ("Cleo", "/rewards/governance/new/"),
    ("Cleo", "/rewards/governance/new/fee-split/"),
    ("Cleo", "/rewards/governance/new/grant/"),
    ("Dora", "/factory/"),
    ("Dora", "wizard, goal"),
    ("Dora", "wizard, data"),
    ("Dora", "wizard, base"),
    ("Dora", "wizard, effort"),
    ("Dora", "wizard, plan"),
    ("Dora", "run"),
    ("Dora", "model"),
    ("Emil", "/rewards/"),
    ("Emil", "/marketplace/answers/"),
    ("Emil", "/marketplace/spending/"),
    ("Emil", "chat"),
    ("", "/marketplace/agents/"),
    ("Emil", "/marketplace/agents/new/"),
    ("Emil", "agent"),
    ("", "agent"),
    ("Emil", "agent, changed"),
    ("Emil", "agent chat"),
    ("Emil", "receipt"),
    ("Emil", "refund"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def windows(browser, walk) -> Callable[..., Visitor]:
    """The window of one of the walk's people (or of nobody), signed in as they were."""
    open_windows: dict[str, Visitor] = {}

    def window_of(name: str, **options: object) -> Visitor:
        key = f"{name}{options}"
        if key not in open_windows:
            state = walk.sessions.get(name)
            open_windows[key] = Visitor(browser, walk.site.url, storage_state=state, **options)
        return open_windows[key]

    return window_of


@pytest.mark.parametrize(("name", "place"), PAGES)
def test_page_is_accessible_quiet_and_fits(windows, walk, name, place):
    window = windows(name)
    window.problems.clear()
    page = window.visit(walk.paths.get(place, place))
    found = {"light": violations(page)}
    page.emulate_media(color_scheme="dark")
    found["dark"] = violations(page, "color-contrast")
    page.set_viewport_size(PHONE)
    found["phone"] = violations(page)
    too_wide = overflow_pixels(page)
    page.set_viewport_size(DESK)
    page.emulate_media(color_scheme="light")
    assert {look: lines for look, lines in found.items() if lines} == {}
    assert (too_wide, overflow_pixels(page)) == (0, 0)
    assert window.problems == []


@pytest.fixture
def plain(windows) -> Callable[[str], Visitor]:
    """Windows of people whose browser runs no scripts."""
    return lambda name: windows(name, java_script_enabled=False)


def sign_up(visitor: Visitor, email: str) -> Page:
    page = visitor.visit("/accounts/signup/")
    page.get_by_label("Email").fill(email)
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("[name=password2]").fill(PASSWORD)
    page.get_by_role("button", name="Create an account").click()
    return page


def test_somebody_without_javascript_signs_up(plain, walk):
    page = sign_up(plain(""), email_of(walk, "plain"))
    expect(page.locator(".menu-note")).to_have_count(1)


def test_who_signed_up_closes_the_account_and_is_gone(windows, walk):
    email = email_of(walk, "leaving")
    page = sign_up(windows(""), email)
    page.goto("/accounts/profile/")
    page.get_by_role("link", name="Close my account").click()
    page.get_by_label("Withdraw them").check()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Close my account for good").click()
    expect(page.get_by_text("Your account is closed.")).to_be_visible()
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("not correct")).to_be_visible()


def test_a_row_is_given_and_approved_without_javascript(plain, walk):
    page = plain("Ben").visit(walk.paths["contribute"])
    row = b'question,answer\n"What does StopIteration mean?",Signal the end from iterator.\n'
    file = {"name": "one.csv", "mimeType": "text/csv", "buffer": row}
    page.locator("input[type=file]").set_input_files([file])
    page.get_by_label("I accept the contributor agreement").check()
    page.get_by_role("button", name="Send for review").click()
    expect(page.get_by_text("StopIteration")).to_be_visible(timeout=SOON_MS)  # reloads by itself
    page = plain("Cleo").visit(walk.paths["review"])
    page.locator("#review-card button[value=approve]").click()
    expect(page.get_by_text("Nothing waits")).to_be_visible()


def test_a_question_is_asked_and_answered_without_javascript(plain, walk):
    page = plain("Emil").visit(walk.paths["chat"])
    earlier = page.locator(".chat-assistant .chat-text").count()
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".chat-assistant .chat-text")).to_have_count(earlier + 1)
    expect(page.locator(".chat-assistant .chat-text").last).not_to_be_empty()
