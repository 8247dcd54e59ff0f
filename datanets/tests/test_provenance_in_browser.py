"""The questions about where rows come from, answered by hand in a real browser, desk and phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as site
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from datanets.tests.conftest import ROWS, jsonl

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed"),
]
PATIENCE_MS = 60_000


@pytest.fixture
def browser(monkeypatch) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread; Django would refuse its own clean-up queries.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser, live_server, contributor, datanet) -> Page:
    client = Client()
    client.force_login(contributor, backend="django.contrib.auth.backends.ModelBackend")
    name = site.SESSION_COOKIE_NAME
    context = browser.new_context(base_url=live_server.url)
    context.add_cookies([{"name": name, "value": client.cookies[name].value,
                          "url": live_server.url}])  # fmt: skip
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    opened.goto(f"/datanets/{datanet.slug}/contribute/")
    return opened


def test_the_browser_insists_on_the_two_questions(page):
    page.get_by_label("I accept the contributor agreement").check()
    page.get_by_role("button", name="Send for review").click()
    assert page.url.endswith("/contribute/")
    assert page.locator("#id_source:invalid, #id_method:invalid").count() == 2


def test_what_is_missing_is_asked_and_the_answers_are_remembered(page, tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(jsonl(ROWS))

    def send() -> None:
        page.set_input_files("input[type=file]", file)
        page.get_by_label("I accept the contributor agreement").check()
        page.get_by_role("button", name="Send for review").click()

    page.get_by_label("Whose are these rows?").select_option("own")
    page.get_by_label("How were they made?").select_option("synthetic")
    send()
    maker = page.get_by_label("Which program or AI model made them")
    expect(page.get_by_text("Name the program or AI model that made them.")).to_be_visible()
    maker.fill("Small model 2")
    page.get_by_text("More about where they come from").click()
    page.get_by_label("Country or region they come from").fill("Austria")
    send()
    page.wait_for_url("**/contributions/**")
    expect(page.get_by_text("These rows were made by Small model 2.")).to_be_visible()
    page.go_back()
    page.goto(page.url)
    expect(page.get_by_label("How were they made?")).to_have_value("synthetic")
    expect(page.locator("#id_origin")).to_have_value("Austria")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_runs_over(page, scheme):
    page.set_viewport_size({"width": 375, "height": 812})
    page.emulate_media(color_scheme=scheme)
    page.get_by_text("More about where they come from").click()
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
