"""Money to test with: funded people, and a chain with the contracts on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openledger_site.accounts.models import User
from rewards.models import Account
from rewards.services.ledger import post, system_account, user_account


@pytest.fixture
def fund() -> Callable[[User, int], None]:
    """Give a person wei to spend, as a deposit would."""
    count = iter(range(1_000_000))

    def give(user: User, amount_wei: int) -> None:
        post(
            key=f"test:fund:{user.pk}:{next(count)}",
            kind="deposit",
            legs=[
                (system_account(Account.Kind.CUSTODY), -amount_wei),
                (user_account(user, Account.Kind.SPENDABLE), amount_wei),
            ],
            reason="Deposit",
        )

    return give
