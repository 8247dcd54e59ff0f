"""The scripts of the shared parts in a real browser, under the policy the site itself sends."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed"),
]


@pytest.fixture
def page(live_server, monkeypatch):
    # Playwright keeps an event loop in this thread; Django would refuse its own clean-up queries.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(
            base_url=live_server.url, color_scheme="light", timezone_id="Asia/Tokyo"
        )
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.extend([line.text] * (line.type == "error")))
        yield page
        browser.close()
    assert problems == []


def test_a_chosen_theme_survives_a_reload_without_a_flash(page):
    page.goto("/")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.reload(wait_until="commit")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_browser_without_a_wallet_is_told_so(page):
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Continue with a wallet").click()
    expect(page.get_by_role("status").filter(has_text="No wallet was found")).to_be_visible()


def test_the_site_loads_nothing_that_its_policy_forbids(page):
    for path in ("/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"):
        page.goto(path, wait_until="networkidle")
    assert page.locator("html[data-ready]").count() == 1


def test_the_front_page_fits_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto("/")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_tabs_that_do_not_fit_begin_at_the_current_one(page):
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto("/rewards/status/")
    tabs = page.get_by_role("navigation", name="Rewards")
    expect(tabs.get_by_role("link", name="State of the books")).to_be_in_viewport(ratio=0.9)


def test_times_stand_in_the_zone_of_the_reader(page):
    page.goto("/")
    expect(page.locator("footer")).to_contain_text("times in Asia/Tokyo")
    shown = page.evaluate(
        """() => {
          const time = document.createElement("time");
          Object.assign(time, { dateTime: "2026-11-28T20:05:00+00:00" });
          time.textContent = "28 Nov 2026, 20:05";
          document.querySelector("main").append(time);
          time.dispatchEvent(new Event("htmx:load", { bubbles: true }));
          return [time.textContent, time.title];
        }"""
    )
    assert shown == ["29 Nov 2026, 05:05", "28 Nov 2026, 20:05 UTC"]
