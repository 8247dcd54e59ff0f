"""A wallet with a balance behind it, the clock's rounds, and a process that dies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from openledger_site.accounts.models import User
from rewards.chain.calls import encode_call, grant_role_call
from rewards.chain.transactions import Signer
from rewards.models import Account
from rewards.services import (
    reconcile,
    return_refused_withdrawals,
    send_transactions,
    watch_chain,
)
from rewards.services.chain import operator_signer
from rewards.services.ledger import system_account
from rewards.tests.conftest import OPEN, Wallets

Kind = Account.Kind


def funded_wallet(wallets: Wallets, user: User) -> Signer:
    """Linked to `user`, with three OPEN deposited from it."""
    signer = wallets.new(5)
    wallets.link(user, signer)
    wallets.deposit(signer, 3 * OPEN)
    wallets.finalize()
    watch_chain()
    return signer


def settle(wallets: Wallets) -> None:
    """What the clock does, until everything is final and booked."""
    for _ in range(2):
        send_transactions()
        wallets.finalize()
        send_transactions()
        return_refused_withdrawals()
        watch_chain()


def on_its_way() -> int:
    return int(system_account(Kind.WITHDRAWING).balance_wei)


def open_of(wallets: Wallets, address: str) -> int:
    return wallets.client.balance_of(wallets.addresses.token, address)


def books_match(wallets: Wallets) -> bool:
    report = reconcile()
    assert report.ok, report.as_dict()
    held = -system_account(Kind.CUSTODY).balance_wei
    return bool(held == open_of(wallets, wallets.addresses.escrow))


def switch(wallets: Wallets, name: str) -> None:
    """`pause` or `unpause` the escrow, by whoever may on the development chain."""
    operator, escrow = operator_signer(), wallets.addresses.escrow
    wallets.send(operator, grant_role_call(escrow, "PAUSER_ROLE", operator.address))
    wallets.send(operator, encode_call(escrow, f"{name}()"))


class Killed(BaseException):
    """As `kill -9`: nothing catches it, and what was not committed is gone."""


@contextmanager
def killed_at(point: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(f"rewards.services.{point}", die)
        try:
            yield
        except Killed:
            return
    pytest.fail(f"{point} was never reached")
