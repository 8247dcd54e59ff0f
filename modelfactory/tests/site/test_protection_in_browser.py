"""Protecting single rows as a builder chooses it, at a desk and on a phone, by day and by night."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings as site
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from datanets.models import Version
from e2e.browser import chromium, overflow_pixels, violations
from modelfactory.models import BaseModel, Run
from modelfactory.tests.site.test_run_wizard import NEW, choices
from openledger_site.accounts.models import User

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed"),
]
PATIENCE_MS = 60_000
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread; Django would refuse its own clean-up queries.
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with chromium() as opened:
        yield opened


@pytest.fixture(params=[(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def page(request: Any, browser: Browser, live_server: LiveServer, builder: User) -> Page:
    client = Client()
    client.force_login(builder, backend="django.contrib.auth.backends.ModelBackend")
    size, scheme = request.param
    context = browser.new_context(
        base_url=live_server.url, viewport=size, color_scheme=scheme, reduced_motion="reduce"
    )
    name = site.SESSION_COOKIE_NAME
    context.add_cookies(
        [{"name": name, "value": client.cookies[name].value, "url": live_server.url}]
    )
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    return opened


def test_it_is_chosen_planned_started_and_said_on_the_runs_page(
    page: Page, version: Version, base: BaseModel
) -> None:
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{NEW}?{urlencode(choices(version, base, step='effort'))}")
    expect(page.get_by_role("radio", name="No The usual choice")).to_be_checked()
    check(page)
    page.get_by_role("radio", name="Most (ε = 4)").check()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("Protected: ε = 4, δ = 1 in 100,000")).to_be_visible()
    check(page)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/runs/*-*/")
    expect(page.get_by_role("heading", name="Single rows are protected")).to_be_visible()
    check(page)
    assert Run.objects.get().recipe["privacy"]["epsilon"] == 4
    assert wrong == []


def check(page: Page) -> None:
    """No barrier for a screen reader, and nothing to scroll sideways for."""
    assert violations(page) == []
    assert overflow_pixels(page) == 0
