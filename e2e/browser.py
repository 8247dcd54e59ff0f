"""Debian's chromium, and a visitor whose every page is watched for faults."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from openledger_site.core.waiting import rounds

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
# A fresh profile must be quiet: no update checks, no sync, nothing that calls home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
WAIT_SECONDS_MAX = 30
LONG_MS = 600_000  # training
# Chromium prints refusals of the content security policy to the console; this also catches those
# of a page that is left at once.
WATCH_POLICY = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} refused ${event.blockedURI}`))"""


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One person's browser window: pages of the site, and what went wrong on them.

    `problems` holds console errors, uncaught exceptions, policy refusals and answers of 500 and
    more, each with the address where it happened.
    """

    def __init__(self, browser: Browser, site_url: str, **options: Any) -> None:
        settings = {"viewport": DESK, "color_scheme": "light", "reduced_motion": "reduce"}
        self.context: BrowserContext = browser.new_context(
            base_url=site_url, **(settings | options)
        )
        self.has_scripts = options.get("java_script_enabled", True)
        self.context.set_default_timeout(WAIT_SECONDS_MAX * 1000)
        self.context.add_init_script(WATCH_POLICY)
        self.problems: list[str] = []
        self.context.on("page", self._watch)
        self.page: Page = self.context.new_page()

    def _watch(self, page: Page) -> None:
        def note(words: str) -> None:
            self.problems.append(f"{page.url}: {words}")

        def listen(line: ConsoleMessage) -> None:
            if line.type == "error":
                note(line.text)

        page.on("console", listen)
        page.on("pageerror", lambda error: note(str(error)))
        page.on(
            "response",
            lambda response: (
                note(f"answered {response.status}") if response.status >= 500 else None
            ),
        )

    def visit(self, path: str) -> Page:
        """Open a page of the site; it must exist. Returns it with its scripts ready."""
        answer = self.page.goto(path)
        if answer is None or answer.status >= 400:
            raise AssertionError(f"{path} answered {answer and answer.status}")
        self.wait_ready()
        return self.page

    def wait_ready(self) -> None:
        if self.has_scripts:
            self.page.locator("html[data-ready]").wait_for(state="attached")

    def words(self) -> str:
        return self.page.locator("main").inner_text()

    def figures(self) -> dict[str, str]:
        return figures(self.page)

    def close(self) -> None:
        self.context.close()


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds against WCAG A and AA (or against `rules` alone), one line a finding."""
    page.evaluate(AXE.read_text())
    only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": WCAG}
    found = page.evaluate(
        "only => axe.run(document, {runOnly: only, resultTypes: ['violations']})",
        only,
    )["violations"]
    return [
        f"{item['id']}: {node['html'][:160]} ({node['failureSummary'].splitlines()[-1].strip()})"
        for item in found
        for node in item["nodes"]
    ]


def figures(page: Page) -> dict[str, str]:
    """The tiles of the page: label to what it says."""
    labels = page.locator("main .stat-label").all_inner_texts()
    return dict(zip(labels, page.locator("main .stat-value").all_inner_texts(), strict=True))


def overflow_pixels(page: Page) -> int:
    """By how much the page is wider than its window."""
    return int(
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )


def drop(page: Page, path: Path) -> None:
    """Let a file fall on the drop zone, as from the desktop."""
    files = page.evaluate_handle(
        """([name, text]) => {
          const carried = new DataTransfer();
          carried.items.add(new File([text], name));
          return carried;
        }""",
        [path.name, path.read_text()],
    )
    page.dispatch_event("[data-dropzone]", "drop", {"dataTransfer": files})


STEP = """above => {
  const tile = [...document.querySelectorAll(".stat")].find(
    (stat) => stat.querySelector("dt")?.textContent.trim() === "Step");
  const step = Number.parseInt(tile?.querySelector("dd")?.textContent ?? "");
  return step > above ? step : null;
}"""


def wait_for_step(page: Page, *, above: int) -> int:
    """The training step that the page shows, once it is over `above`."""
    shown = page.wait_for_function(STEP, arg=above, timeout=LONG_MS)
    return int(shown.json_value())


def until(holds: Callable[[], bool], seconds: float) -> None:
    """Ask again until it holds; raises AssertionError when the time is over."""
    if not any(holds() for _ in rounds(seconds, pause_seconds=0.5)):
        raise AssertionError(f"Did not hold within {seconds:.0f} s.")
