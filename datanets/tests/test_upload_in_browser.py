"""A large file sent in parts by a real browser: cut, paused, reloaded, and whole in the end."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from django.conf import settings as site
from django.test import Client
from playwright.sync_api import Page, Route, expect, sync_playwright

from datanets.models import Contribution, ResumableUpload
from datanets.tests.conftest import jsonl

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed"),
]
PATIENCE_MS = 60_000


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """300 rows that differ, 6 MB: more than goes with the form."""
    path = tmp_path / "large.jsonl"
    rows = [{"question": f"What is {n}?", "answer": f"It is {n}. " * 1_600} for n in range(300)]
    path.write_bytes(jsonl(rows))
    return path


@pytest.fixture
def page(live_server, monkeypatch, contributor, datanet):
    # Playwright keeps an event loop in this thread; Django would refuse its own clean-up queries.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    client = Client()
    client.force_login(contributor, backend="django.contrib.auth.backends.ModelBackend")
    name = site.SESSION_COOKIE_NAME
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = browser.new_context(base_url=live_server.url)
        cookie = {"name": name, "value": client.cookies[name].value, "url": live_server.url}
        context.add_cookies([cookie])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"/datanets/{datanet.slug}/contribute/")
        yield page
        browser.close()
    assert problems == []


def send(page: Page) -> None:
    page.get_by_label("Whose are these rows?").select_option("own")
    page.get_by_label("How were they made?").select_option("written")
    page.get_by_label("I accept the contributor agreement").check()
    page.get_by_role("button", name="Send for review").click()
    page.wait_for_url("**/contributions/**")


def arrived(page: Page) -> None:
    expect(page.get_by_text("byte for byte")).to_be_visible(timeout=PATIENCE_MS)


def same_bytes(path: Path) -> bool:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Contribution.objects.get().file_digest == digest


def test_a_large_file_arrives_while_the_form_is_filled_in(page, large):
    page.set_input_files("input[type=file]", large)
    arrived(page)
    send(page)
    assert same_bytes(large)
    assert not ResumableUpload.objects.exists()


def test_a_form_sent_early_waits_for_its_file_and_a_cut_line_is_mended(page, large):
    seen: list[str] = []

    def cut_second(route: Route) -> None:
        seen.append(route.request.method)
        route.abort() if len(seen) == 2 else route.continue_()

    page.route("**/api/uploads/**", lambda route: (
        cut_second(route) if route.request.method == "PATCH" else route.continue_()
    ))  # fmt: skip
    page.set_input_files("input[type=file]", large)
    send(page)
    assert len(seen) > 2
    assert same_bytes(large)


def test_a_reload_goes_on_where_the_upload_was_paused(page, large):
    offsets: list[str] = []

    def hold_second(route: Route) -> None:
        offsets.append(route.request.headers.get("upload-offset", ""))
        if len(offsets) == 2:
            page.get_by_role("button", name="Pause").click()
            return
        route.continue_()

    page.route("**/api/uploads/**", lambda route: (
        hold_second(route) if route.request.method == "PATCH" else route.continue_()
    ))  # fmt: skip
    page.set_input_files("input[type=file]", large)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Choose it again to go on")).to_be_visible()
    page.set_input_files("input[type=file]", large)
    arrived(page)
    assert offsets[2] == offsets[1] != "0"
    send(page)
    assert same_bytes(large)


def test_a_cancelled_file_leaves_nothing(page, large):
    page.set_input_files("input[type=file]", large)
    arrived(page)
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Cancel this file").click()
    expect(page.locator("[data-upload]")).to_be_hidden()
    page.reload()
    expect(page.get_by_text("Files you began to send")).to_have_count(0)
