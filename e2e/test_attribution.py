"""Who moved an answer, in two browsers: the builder has it measured, the contributor doubts it.

What is not about attribution was done over HTTP before, with the demo's own steps, on few rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from e2e.browser import PHONE, Visitor, chromium, overflow_pixels, violations
from e2e.demo import steps
from e2e.demo.person import PASSWORD, wait_for
from e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
# Each row has nine wordings; the questions of the demo are about the last row of each file.
ROWS_EACH = 4
EPOCHS = 8
SOON_MS = 120_000
MEASURED_MS = 240_000


@dataclass
class Journey:
    """The builder's and the contributor's windows, and what their pages showed."""

    stage: steps.Stage
    builder: Visitor
    contributor: Visitor
    seen: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)

    def look(self, visitor: Visitor, label: str) -> None:
        """Axe in light and dark, and that nothing sticks out of a phone."""
        page = visitor.page
        found = violations(page)
        page.emulate_media(color_scheme="dark")
        found += violations(page, "color-contrast")
        page.emulate_media(color_scheme="light")
        size = page.viewport_size
        page.set_viewport_size({"width": 360, "height": PHONE["height"]})
        if overflow_pixels(page) > 0:
            found.append(f"sticks out by {overflow_pixels(page)} px")
        if size:
            page.set_viewport_size(size)
        self.findings[label] = found


@pytest.fixture(scope="module")
def journey(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in site.child_environment().items():
            patch.setenv(name, value)  # the demo's steps run management commands beside the site
        stage = prepared(site, tmp_path_factory.mktemp("rows"))
    with chromium() as browser:
        walked = Journey(
            stage, signed_in(browser, stage, "builder"), signed_in(browser, stage, "ada")
        )
        measure_and_stop(walked)
        doubt(walked)
        walked.seen["finding"] = found_by_the_audit(walked)
        go_on_to_the_figures(walked)
        yield walked
        walked.builder.close()
        walked.contributor.close()


def prepared(site: Site, folder: Path) -> steps.Stage:
    """A small model that was asked one question, paid for, about a row of Ada's."""
    stage = steps.Stage(site.url)
    for step in (steps.sign_up, steps.link_wallets, steps.open_datanet):
        step(stage)
    give_rows(stage, folder)
    for step in (steps.review, steps.cut_version):
        step(stage)
    page = stage.builder.post(
        "/factory/runs/start/",
        {
            "name": "Errors, explained",
            "goal": "Say what errors mean.",
            "version": stage.version.rstrip("/").rpartition("/")[2],
            "base": "openledger-base",
            "effort": "quick",
            "epochs": EPOCHS,
        },
    )
    stage.run = page.url.path
    steps.deposit(stage)  # while the trainer works

    def trained() -> bool:
        return "Publish the model" in stage.builder.get(stage.run).text

    wait_for("the run to end", trained, 300)
    steps.publish(stage)
    steps.chat_in_the_page(stage)
    receipt = f"/marketplace/answers/{stage.answers[0]}/receipt.json"
    settled = lambda: stage.consumer.http.get(receipt).status_code == 200  # noqa: E731
    wait_for("the receipt", settled, 90)
    return stage


def give_rows(stage: steps.Stage, folder: Path) -> None:
    """The last rows of the demo's files, and the one that the question is about."""
    csv = (steps.SAMPLE / "python-exceptions.csv").read_text().splitlines()
    lines = (steps.SAMPLE / "http-statuses.jsonl").read_text().splitlines()
    asked = [line for line in csv if "ZeroDivisionError" in line]
    others = [line for line in csv[1:] if line not in asked]
    rows = {
        "rows.csv": [csv[0], *others[: ROWS_EACH - len(asked)], *asked],
        "rows.jsonl": lines[:ROWS_EACH],
    }
    for person, (name, content) in zip(stage.contributors, rows.items(), strict=True):
        path = folder / name
        path.write_text("\n".join(content) + "\n")
        page = person.post(
            f"{stage.datanet}contribute/",
            {"licence": "PSF-2.0", "agree": "on"},
            files={"file": (name, path.read_bytes())},
        )
        steps._rows_of(person, page.url.path)


def signed_in(browser: Browser, stage: steps.Stage, role: str) -> Visitor:
    visitor = Visitor(browser, stage.site)
    page = visitor.visit("/accounts/login/")
    page.get_by_label("Email").fill(getattr(stage, role).email)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_text("Your account").wait_for(state="attached")
    return visitor


def measure_and_stop(journey: Journey) -> None:
    """The panel follows by itself: no reload between the press and the first figure."""
    page = journey.builder.visit(f"/factory/models/{journey.stage.model}/")
    journey.look(journey.builder, "model, not measured")
    page.get_by_role("button", name="Measure it").click()
    panel = page.locator("#fidelity")
    expect(panel).to_contain_text("0 of 4 retrainings", timeout=SOON_MS)
    journey.look(journey.builder, "model, being measured")
    expect(panel).to_contain_text(re.compile(r"[1-3] of 4 retrainings"), timeout=SOON_MS)
    journey.seen["time left"] = panel.inner_text()
    page.get_by_role("button", name="Stop measuring").click()
    expect(panel).to_contain_text("Measuring stopped", timeout=SOON_MS)
    journey.seen["stopped"] = panel.inner_text()
    journey.look(journey.builder, "model, measuring stopped")


def doubt(journey: Journey) -> None:
    page = journey.contributor.visit("/marketplace/earned/")
    journey.look(journey.contributor, "what my rows earned")
    page.get_by_role("link", name="Why did I earn this?").first.click()
    journey.contributor.wait_ready()
    journey.seen["why"] = journey.contributor.words()
    journey.look(journey.contributor, "why did I earn this")
    page.get_by_role("link", name="Dispute this").click()
    journey.contributor.wait_ready()
    page.get_by_role("checkbox").first.check()
    page.get_by_label("What seems wrong").fill("My row alone says this.")
    journey.look(journey.contributor, "dispute, the form")
    page.get_by_role("button", name="Start the audit").click()
    page.wait_for_url("**/marketplace/disputes/**")
    journey.contributor.wait_ready()
    expect(page.locator("main")).to_contain_text(re.compile("Retraining, step"), timeout=SOON_MS)
    journey.look(journey.contributor, "dispute, the audit going")


def found_by_the_audit(journey: Journey) -> str:
    """In the page that was open all along."""
    page: Page = journey.contributor.page
    expect(page.locator("main")).to_contain_text("What the audit found", timeout=MEASURED_MS)
    journey.look(journey.contributor, "dispute, decided")
    return journey.contributor.words()


def go_on_to_the_figures(journey: Journey) -> None:
    page = journey.builder.page
    page.get_by_role("button", name="Go on measuring").click()
    panel = page.locator("#fidelity")
    expect(panel).to_contain_text(re.compile(r"[1-3] of 4 retrainings"), timeout=SOON_MS)
    journey.seen["gone on"] = panel.inner_text()
    expect(panel).to_contain_text("We trained the model again 4 times", timeout=MEASURED_MS)
    journey.seen["measured"] = panel.inner_text()
    journey.look(journey.builder, "model, measured")


def test_stopping_keeps_what_is_done(journey):
    done = re.search(r"([1-3]) of 4 retrainings are done and kept", journey.seen["stopped"])
    assert done
    again = re.search(r"([1-3]) of 4 retrainings", journey.seen["gone on"])
    assert again[1] >= done[1]


def test_the_panel_says_how_long_is_left(journey):
    assert re.search(r"retrainings, (about|less than) .* left", journey.seen["time left"])


def test_the_figures_appear_in_the_page_that_was_open(journey):
    assert "predicts" in journey.seen["measured"]
    assert "Chance" in journey.seen["measured"]


def test_a_contributor_reads_which_row_earned_and_how_sure_that_is(journey):
    assert "ZeroDivisionError" in journey.seen["why"]
    assert "How sure" in journey.seen["why"] or "HOW SURE" in journey.seen["why"]


def test_the_question_stays_with_the_person_who_asked(journey):
    assert steps.QUESTIONS[0] not in journey.seen["why"]


def test_the_audit_says_in_words_what_leaving_the_row_out_did(journey):
    assert "Without these rows the answer would have been" in journey.seen["finding"]
    assert "If you do not agree" in journey.seen["finding"]


def test_every_page_of_attribution_is_accessible_and_fits_a_phone(journey):
    assert {label: found for label, found in journey.findings.items() if found} == {}


def test_no_page_of_attribution_reports_an_error(journey):
    assert [*journey.builder.problems, *journey.contributor.problems] == []
