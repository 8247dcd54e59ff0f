"""The whole thread, clicked by five people in five browsers. Tests read what was seen on the way.

Ada and Ben contribute, Cleo curates (and is on the staff), Dora builds, Emil asks and pays.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from e2e.browser import (
    LONG_MS,
    Visitor,
    drop,
    figures,
    overflow_pixels,
    until,
    violations,
    wait_for_step,
)
from e2e.demo.person import PASSWORD
from e2e.site import Site
from e2e.wallet import Wallet

SAMPLE = Path(__file__).parent / "demo" / "sample"
NAMES = ("Ada", "Ben", "Cleo", "Dora", "Emil")
# Worded as no training row is; about a row of Ada's file.
QUESTION = "In plain words, explain ZeroDivisionError."
DEPOSIT_OPEN = "5"
SOON_MS = 60_000  # queues, confirmations


@dataclass
class Walk:
    """The people, where they got to, and what the pages showed."""

    site: Site
    browser: Browser
    people: dict[str, Visitor] = field(default_factory=dict)
    wallets: dict[str, Wallet] = field(default_factory=dict)
    sessions: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> Walk:
        for step in STEPS:
            began = time.monotonic()
            try:
                step(self)
            except Exception as problem:
                problem.add_note(f"In {step.__name__}. {self.where_everybody_is()}")
                raise
            self.seconds[step.__name__] = round(time.monotonic() - began, 1)
        return self

    def where_everybody_is(self) -> str:
        places = [f"{name} at {one.page.url}" for name, one in self.people.items()]
        return "; ".join([*places, *self.problems()[:5]])

    def page(self, name: str) -> Page:
        return self.people[name].page

    def look(self, name: str, label: str) -> None:
        """Check the page that `name` sees: axe, and that nothing sticks out."""
        page = self.page(name)
        found = violations(page)
        if overflow_pixels(page) > 0:
            found.append(f"sticks out by {overflow_pixels(page)} px")
        self.findings[f"{label} ({name})"] = found

    def close(self) -> None:
        """Keep each person's session for later pages, then close their windows."""
        for name, visitor in self.people.items():
            self.sessions[name] = visitor.context.storage_state()
            visitor.close()

    def problems(self) -> list[str]:
        return [problem for visitor in self.people.values() for problem in visitor.problems]


def sign_up(walk: Walk) -> None:
    rpc_url = walk.site.child_environment()["CHAIN_RPC_URL"]
    for name in NAMES:
        visitor = Visitor(walk.browser, walk.site.url)
        wallet = Wallet(rpc_url)
        wallet.install(visitor.context)
        walk.people[name], walk.wallets[name] = visitor, wallet
        page = visitor.visit("/")
        page.get_by_role("link", name="Sign up").click()
        page.get_by_label("Email").fill(email_of(walk, name))
        page.locator("[name=password1]").fill(PASSWORD)
        page.locator("[name=password2]").fill(PASSWORD)
        if name == "Ada":
            walk.look(name, "sign-up")
        page.get_by_role("button", name="Create an account").click()
        page.get_by_text("Your account").wait_for(state="attached")
        visitor.visit("/accounts/profile/")
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_label("Name")).to_have_value(name)
    walk.look("Ada", "profile without a wallet")


def email_of(walk: Walk, name: str) -> str:
    return f"{name.lower()}.{walk.site.process.pid}@journey.example"


def link_wallets(walk: Walk) -> None:
    for name in ("Ada", "Ben", "Dora", "Emil"):
        page = walk.people[name].visit("/accounts/profile/")
        page.get_by_role("button", name="Link a wallet").click()
        page.get_by_role("cell", name=re.compile("0x")).wait_for()
        walk.seen[f"{name} signed"] = list(walk.wallets[name].asked)
    walk.look("Ada", "profile with a wallet")


def open_datanet(walk: Walk) -> None:
    page = walk.people["Cleo"].visit("/datanets/")
    walk.look("Cleo", "Datanets, empty")
    press(walk.people["Cleo"], "n", "**/datanets/new/")
    page.get_by_label("Name").fill("Python, explained")
    page.get_by_label("Description").fill("What errors and statuses mean, from Python itself.")
    page.get_by_label("Guidelines").fill("One fact a row, as Python's documentation says it.")
    page.get_by_label("Public").check()
    page.locator("[name=licence]").select_option("PSF-2.0")
    walk.look("Cleo", "new Datanet")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("heading", name="Python, explained", level=1).wait_for()
    walk.paths["datanet"] = path_of(page)
    reviewing = ("review", "review/quality", "review/again")
    for place in ("contribute", *reviewing, "rows", "card", "members", "requests", "log"):
        walk.paths[place] = f"{walk.paths['datanet']}{place}/"
    stakes = page.get_by_role("link", name="Stake on it").get_attribute("href")
    walk.paths["stakes"] = stakes or ""
    walk.look("Cleo", "Datanet, empty")


def press(visitor: Visitor, key: str, address: str) -> None:
    """Go somewhere by a hotkey."""
    visitor.page.keyboard.press(key)
    visitor.page.wait_for_url(address)
    visitor.wait_ready()


def path_of(page: Page) -> str:
    return "/" + page.url.split("/", 3)[3]


def upload(walk: Walk) -> None:
    for name, file in (("Ada", "python-exceptions.csv"), ("Ben", "http-statuses.jsonl")):
        page = walk.people[name].visit(walk.paths["datanet"])
        press(walk.people[name], "c", "**/contribute/")
        drop(page, SAMPLE / file)
        expect(page.locator("[data-dropzone-files]")).to_contain_text(file)
        page.get_by_label("Whose are these rows?").select_option("published")
        page.get_by_label("Where they come from").fill("Python and IANA references")
        page.get_by_label("How were they made?").select_option("extracted")
        page.get_by_label("I accept the contributor agreement").check()
        walk.look(name, "contribute, file dropped")
        page.get_by_role("button", name="Send for review").click()
        page.wait_for_url("**/datanets/contributions/**")
        expect(page.locator(".stats")).to_contain_text("24", timeout=SOON_MS)
        walk.seen[f"{name} uploaded"] = walk.people[name].figures()
        walk.paths[f"contribution of {name}"] = path_of(page)
        contribution = path_of(page).rstrip("/").rpartition("/")[2]
        walk.paths[f"stakes of {name}"] = f"/rewards/stakes/contribution/{contribution}/"
        walk.look(name, "contribution, read")


def review(walk: Walk) -> None:
    """Two rows by hotkey, one taken back, the rest at once."""
    page = walk.people["Cleo"].visit(walk.paths["datanet"])
    press(walk.people["Cleo"], "r", "**/review/")
    waiting = page.locator("#review-card [role=status]")
    expect(waiting).to_have_text("48 rows waiting")
    walk.look("Cleo", "review")
    page.evaluate("window.sameDocument = true")
    for key, left in (("a", 47), ("a", 46), ("u", 47)):
        page.keyboard.press(key)
        expect(waiting).to_have_text(f"{left} rows waiting")
    walk.seen["one page while reviewing"] = page.evaluate("window.sameDocument === true")
    page.get_by_role("button", name="Approve all that match").click()
    page.get_by_text("Nothing waits").wait_for()
    walk.look("Cleo", "review, done")


def cut_version(walk: Walk) -> None:
    page = walk.people["Cleo"].visit(walk.paths["datanet"])
    page.get_by_label("Note").fill("First version")
    page.get_by_role("button", name="Cut a version").click()
    page.wait_for_url("**/datanets/versions/**")
    walk.paths["version"] = path_of(page)
    walk.seen["version"] = walk.people["Cleo"].figures()
    walk.look("Cleo", "version")
    page.locator("main table a").first.click()
    page.wait_for_url("**/datanets/records/**")
    walk.paths["record"] = path_of(page)
    walk.look("Cleo", "record")


def start_run(walk: Walk) -> None:
    """The wizard, one choice a page."""
    page = walk.people["Dora"].visit("/factory/")
    walk.look("Dora", "ModelFactory, empty")
    press(walk.people["Dora"], "n", "**/factory/runs/new/")
    page.get_by_label("Name").fill("Python, explained")
    page.get_by_label("What should it be able to do?").fill("Say what errors and statuses mean.")
    for step, choice in (
        ("goal", ""),
        ("data", "Python, explained, version 1"),
        ("base", "OpenLedger"),
        ("effort", "Quick"),
    ):
        if choice:
            page.locator("label.choice", has_text=choice).first.click()
        walk.paths[f"wizard, {step}"] = path_of(page)
        walk.look("Dora", f"wizard, {step}")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_load_state()
    page.get_by_role("button", name="Start training").wait_for()
    walk.paths["wizard, plan"] = path_of(page)
    walk.look("Dora", "wizard, plan")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/factory/runs/[0-9a-f-]{36}/"))
    walk.paths["run"] = path_of(page)


def watch_run(walk: Walk) -> None:
    """One window follows with hints, a second one without; the first is loaded again midway."""
    page = walk.page("Dora")
    deaf = walk.people["Dora"].context.new_page()
    deaf.route_web_socket("**/ws/**", lambda socket: socket.close())
    deaf.goto(walk.paths["run"])
    first = wait_for_step(page, above=0)
    page.evaluate("window.sameDocument = true")
    walk.look("Dora", "run, training")
    walk.seen["step, first"] = first
    walk.seen["step, live"] = wait_for_step(page, above=first)
    walk.seen["step without hints"] = wait_for_step(deaf, above=first)
    walk.seen["no reload between"] = page.evaluate("window.sameDocument === true")
    page.reload(wait_until="commit")
    walk.seen["step after reload"] = wait_for_step(page, above=0)
    page.get_by_role("link", name="Publish the model").wait_for(timeout=LONG_MS)
    deaf.get_by_role("link", name="Publish the model").wait_for(timeout=SOON_MS)
    walk.seen["verdict"] = walk.people["Dora"].figures()
    walk.seen["verdict without hints"] = figures(deaf)
    deaf.close()
    walk.look("Dora", "run, verdict")


def publish(walk: Walk) -> None:
    page = walk.page("Dora")
    page.get_by_role("link", name="Publish the model").click()
    page.get_by_label("Name").fill("Python, explained")
    page.locator("[name=card]").fill("Says what Python's errors and HTTP statuses mean.")
    page.get_by_label("Public").check()
    walk.look("Dora", "publish")
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("link", name="Chat with it").wait_for()
    walk.paths["model"] = path_of(page)
    walk.paths["chat"] = f"/marketplace/models/{walk.paths['model'].split('/')[-2]}/chat/"
    walk.look("Dora", "model")
    until(lambda: "Almost ready" not in fresh_words(walk, "Dora", walk.paths["chat"]), 300)


def fresh_words(walk: Walk, name: str, path: str) -> str:
    walk.people[name].visit(path)
    return walk.people[name].words()


def deposit(walk: Walk) -> None:
    """First the wallet says no, then yes."""
    wallet = walk.wallets["Emil"]
    given = walk.site.manage("dev_faucet", wallet.address, "10")
    assert given.returncode == 0, given.stdout + given.stderr
    granted = walk.site.manage("dev_grant", wallet.address, "1200", "--began-days-ago", "400")
    assert granted.returncode == 0, granted.stdout + granted.stderr
    page = walk.people["Emil"].visit("/rewards/")
    walk.look("Emil", "balance, empty")
    page.get_by_label("Amount").fill(DEPOSIT_OPEN)
    status = page.locator("[data-wallet=deposit] [data-wallet-status]")
    wallet.declines = True
    page.get_by_role("button", name="Deposit from a wallet").click()
    expect(status).to_contain_text("You declined", timeout=SOON_MS)
    wallet.declines = False
    wallet.asked.clear()
    page.get_by_role("button", name="Deposit from a wallet").click()
    expect(status).to_contain_text("Credited", timeout=SOON_MS)
    walk.seen["deposit asked"] = list(wallet.asked)
    walk.look("Emil", "balance, just credited")
    page.reload()
    walk.seen["balance"] = walk.people["Emil"].figures()


def chat(walk: Walk) -> None:
    page = walk.people["Emil"].visit("/marketplace/")
    walk.look("Emil", "marketplace")
    page.get_by_role("link", name="Python, explained").click()
    page.get_by_role("link", name="Chat with it").click()
    walk.people["Emil"].wait_ready()
    page.get_by_label("Your question").fill(QUESTION)
    page.keyboard.press("Enter")
    answer = page.locator(".chat-assistant .chat-text").last
    expect(answer).not_to_be_empty(timeout=SOON_MS)
    walk.seen["partial answer"] = answer.inner_text()
    page.get_by_role("link", name="Receipt and sources").wait_for(timeout=SOON_MS)
    walk.seen["answer"] = page.locator(".chat-assistant .chat-text").last.inner_text()
    walk.look("Emil", "chat, answered")


def read_receipt(walk: Walk) -> None:
    page = walk.page("Emil")
    page.get_by_role("link", name="Receipt and sources").click()
    page.wait_for_url("**/receipt/")
    walk.paths["receipt"] = path_of(page)
    walk.paths["refund"] = walk.paths["receipt"].replace("/receipt/", "/refund/")
    walk.seen["receipt"] = walk.people["Emil"].words()
    walk.look("Emil", "receipt")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    path = walk.site.folder / "receipt.json"
    download.value.save_as(path)
    walk.seen["receipt file"] = json.loads(path.read_text())
    walk.seen["replay"] = walk.site.manage("verify_receipt", str(path), "--json").stdout


def make_agent(walk: Walk) -> None:
    """Emil puts an agent of his own before Dora's model."""
    page = walk.people["Emil"].visit("/marketplace/agents/new/")
    walk.look("Emil", "new agent, which model")
    page.get_by_role("link", name="Python, explained").click()
    page.get_by_label("Name").fill("Error helper")
    page.get_by_label("What it is for").fill("Says what an error message means.")
    page.locator("[name=instructions]").fill("Every error has a name and a meaning.")
    page.get_by_label("Answer only from rows").check()
    page.get_by_label("Your part").fill("10")
    page.get_by_label("Opening message").fill("Which error did you meet?")
    walk.look("Emil", "new agent")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("link", name="Chat with it").wait_for()
    walk.paths["agent"] = path_of(page)
    walk.paths["agent, changed"] = f"{walk.paths['agent']}edit/"
    walk.paths["agent chat"] = f"{walk.paths['agent']}chat/"
    walk.look("Emil", "agent")


def close_epoch(walk: Walk) -> None:
    """Ada waits until her share is payable; Cleo, on the staff, closes the epoch by its button."""
    until(lambda: _figure(walk, "For the next epoch") > 0, 60)
    walk.look("Ada", "earnings")
    made = walk.site.manage(
        "shell",
        "-c",
        "from openledger_site.accounts.models import User\n"
        f"User.objects.filter(email={email_of(walk, 'Cleo')!r}).update(is_staff=True)",
    )
    assert made.returncode == 0, made.stderr
    page = walk.people["Cleo"].visit("/rewards/epochs/")
    page.get_by_role("button", name="Close the epoch").click()
    page.wait_for_url(re.compile(r"/rewards/epochs/\d+/"))
    walk.paths["epoch"] = path_of(page)
    paid = walk.wallets["Ada"].address
    walk.paths["address"] = path_of(walk.people["Cleo"].visit(f"/rewards/explorer/?q={paid}"))
    walk.look("Cleo", "epoch, closed")


def see_reputation(walk: Walk) -> None:
    """Ada's number is measured by the clock, or now by hand; she has it written to her token."""
    measured = walk.site.manage("measure_reputations")
    assert measured.returncode == 0, measured.stderr
    page = walk.people["Ada"].visit("/rewards/reputation/")
    page.get_by_role("button", name=re.compile("Write .* to my token")).click()
    page.locator("#token .pill", has_text="Final").wait_for()
    walk.look("Ada", "reputation, on chain")
    model = walk.people["Cleo"].visit(walk.paths["model"])
    link = model.locator("a[href*='/rewards/assets/model/']").first
    walk.paths["asset"] = str(link.get_attribute("href"))
    person = walk.people["Cleo"].visit(walk.paths["datanet"]).locator("a[href*='/rewards/people/']")
    walk.paths["person"] = str(person.first.get_attribute("href"))


def _figure(walk: Walk, label: str) -> int:
    """An amount in wei among the tiles of Ada's earnings."""
    page = walk.people["Ada"].visit("/rewards/earnings/")
    tile = page.locator(".stat", has_text=label)
    return int(tile.locator("data").get_attribute("value") or 0)


def claim(walk: Walk) -> None:
    page = walk.page("Ada")
    wallet = walk.wallets["Ada"]
    given = walk.site.manage("dev_faucet", wallet.address, "1")  # coin for gas comes with it
    assert given.returncode == 0, given.stdout + given.stderr
    # The amount stands there as soon as the epoch is closed, the button once its root is active.
    until(lambda: _can_claim(walk), 90)
    walk.seen["to claim"] = _figure(walk, "To claim")
    before_wei = wallet.balance_of(token_of(walk))
    walk.look("Ada", "earnings, to claim")
    page.get_by_role("button", name="Claim", exact=True).click()
    status = page.locator("[data-wallet=claim] [data-wallet-status]")
    expect(status).to_contain_text("The OPEN is in your wallet", timeout=SOON_MS)
    walk.look("Ada", "earnings, just claimed")
    walk.seen["to claim afterwards"] = _figure(walk, "To claim")
    walk.seen["claimed"] = _figure(walk, "Claimed")
    walk.seen["arrived on chain"] = wallet.balance_of(token_of(walk)) - before_wei
    walk.look("Ada", "earnings, claimed")


def _can_claim(walk: Walk) -> bool:
    page = walk.people["Ada"].visit("/rewards/earnings/")
    return page.get_by_role("button", name="Claim", exact=True).count() > 0


def token_of(walk: Walk) -> str:
    answer = walk.people["Ada"].context.request.get("/rewards/api/contracts")
    return str(answer.json()["token"])


STEPS: tuple[Callable[[Walk], None], ...] = (
    sign_up,
    link_wallets,
    open_datanet,
    upload,
    review,
    cut_version,
    start_run,
    watch_run,
    publish,
    deposit,
    chat,
    read_receipt,
    make_agent,
    close_epoch,
    claim,
    see_reputation,
)
