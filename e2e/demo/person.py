"""Somebody at a browser: a session, forms with their CSRF token, and perhaps a wallet."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from openledger_site.core.waiting import rounds

PASSWORD = "a sentence nobody guesses 42"  # five throw-away people on a local site
Result = TypeVar("Result")


class StepFailed(Exception):
    """A step did not do what it must; the message says what was seen instead."""


class Person:
    """One of the five users of the demo, over real HTTP."""

    def __init__(self, site: str, name: str) -> None:
        self.site = site
        self.name = name
        self.email = f"{name.lower()}.{int(time.time() * 1000)}@demo.example"
        self.wallet: LocalAccount = Account.create()
        self.http = httpx.Client(base_url=site, follow_redirects=True, timeout=60, trust_env=False)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._checked(self.http.get(path, headers=headers))

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
        """Send a form as the browser does; a refusal raises with the words of the page."""
        return self._checked(self.send(path, data, **options))

    def send(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
        if "csrftoken" not in self.http.cookies:
            self.http.get("/accounts/login/")
        headers = {
            "X-CSRFToken": self.http.cookies["csrftoken"],
            "Referer": self.site + path,
            **options.pop("headers", {}),
        }
        return self.http.post(path, data=data or {}, headers=headers, **options)

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.status_code >= 400:
            words = text_of(response.text)[:400]
            raise StepFailed(
                f"{self.name}: {response.request.method} {response.request.url.path}"
                f" answered {response.status_code}: {words}"
            )
        return response

    def sign_up(self) -> None:
        data = {"email": self.email, "password1": PASSWORD, "password2": PASSWORD}
        page = self.post("/accounts/signup/", data)
        if page.url.path == "/accounts/signup/":
            raise StepFailed(f"{self.name} could not sign up: {text_of(page.text)[:300]}")
        self.post("/accounts/profile/", {"display_name": self.name})

    def link_wallet(self, chain_id: int) -> None:
        """Prove with a signature that the wallet is theirs (EIP-4361)."""
        asked = {"address": self.wallet.address, "chain_id": chain_id, "purpose": "link"}
        text = self.post("/accounts/wallet/nonce/", asked).json()["message"]
        signature = self.wallet.sign_message(encode_defunct(text=text)).signature.to_0x_hex()
        self.post(
            "/accounts/wallet/verify/", {"message": text, "signature": signature, "purpose": "link"}
        )

    def make_api_key(self) -> str:
        page = self.post(
            "/accounts/keys/", {"name": "demo", "scopes": ["inference"], "lifetime_days": 30}
        )
        found = re.search(r"ol_live_[0-9a-f]{8}_[0-9a-f]{32}", page.text)
        if found is None:
            raise StepFailed("The new API key is not on its page.")
        return found[0]


def wait_for(what: str, look: Callable[[], Result | None], seconds: float) -> Result:
    """Ask `look` until it gives something; raises `StepFailed` when the time is over."""
    for _ in rounds(seconds, pause_seconds=0.25):
        found = look()
        if found:
            return found
    raise StepFailed(f"Waited {seconds:.0f} s for {what}.")


def text_of(page: str) -> str:
    """The words of a page's main part."""
    main = re.search(r"<main.*?</main>", page, re.DOTALL)
    without = re.sub(
        r"<(script|style|template).*?</\1>", " ", main[0] if main else page, flags=re.DOTALL
    )
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", without))).strip()
