"""Who closes their account while money of theirs is on its way: it arrives first."""

from __future__ import annotations

import pytest
from eth_account.signers.local import LocalAccount

from openledger_site.accounts.closing import AccountInUse, close_account
from openledger_site.accounts.models import User
from rewards.selectors import spendable_wei
from rewards.services import payment_terms, take_payment
from rewards.tests.conftest import OPEN, Wallets
from rewards.tests.paying import authorize, new_payer, sign
from rewards.tests.relaying import order, poor_wallet, until_final

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


@pytest.fixture
def wallet(wallets: Wallets, consumer: User) -> LocalAccount:
    """Quinn's, with 100 OPEN and not a wei of ETH."""
    return poor_wallet(wallets, consumer, 100 * OPEN)


def test_a_deposit_that_pays_for_itself_is_waited_for(
    wallets: Wallets, consumer: User, wallet: LocalAccount
) -> None:
    """Its fee is not held yet, and its wallet would be nobody's when it arrives."""
    order(consumer, wallet, "deposit", amount="10")
    with pytest.raises(AccountInUse, match="on its way"):
        close_account(user=consumer, withdraw_rows=True)
    until_final(wallets)
    assert spendable_wei(consumer) > 9 * OPEN


def test_a_payment_by_signature_is_waited_for(wallets: Wallets) -> None:
    payer, terms = new_payer(9 * OPEN), payment_terms(3 * OPEN)
    authorization = authorize(payer, terms)
    payment = take_payment(authorization, sign(payer, authorization, terms), "a question")
    with pytest.raises(AccountInUse, match="on its way"):
        close_account(user=payment.user, withdraw_rows=True)
    until_final(wallets)
    assert spendable_wei(payment.user) == 3 * OPEN


def test_a_payment_that_the_token_refused_is_not_waited_for(wallets: Wallets) -> None:
    payer, terms = new_payer(9 * OPEN), payment_terms(3 * OPEN)
    authorization = authorize(payer, terms, amount_wei=10 * OPEN)
    payment = take_payment(authorization, sign(payer, authorization, terms), "a question")
    until_final(wallets)
    close_account(user=payment.user, withdraw_rows=True)
    payment.user.refresh_from_db()
    assert not payment.user.is_active
