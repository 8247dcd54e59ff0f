"""Who closes their account while money of theirs is on its way: it arrives first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction
from eth_account.signers.local import LocalAccount

from openledger_site.accounts.closing import AccountClosed, AccountInUse, close_account
from openledger_site.accounts.models import User
from openledger_site.accounts.services import user_for_payer
from rewards.models import ChainTransaction, Relay, SignedPayment
from rewards.selectors import spendable_wei
from rewards.services import payment_terms, relay, take_payment
from rewards.tests.conftest import OPEN, Wallets, until_somebody_waits
from rewards.tests.paying import authorize, new_payer, sign
from rewards.tests.relaying import ask, order, poor_wallet, sign_quote, until_final

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


def refused_while_closing(user: User, pay: Callable[[], object]) -> None:
    """`pay` begins while another window closes the account, and is refused once that is done."""

    def begin() -> None:
        try:
            pay()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            close_account(user=user, withdraw_rows=True)
            paying = other.submit(begin)
            until_somebody_waits()
        with pytest.raises(AccountClosed):
            paying.result(60)


def test_no_payment_by_signature_begins_while_the_account_is_closed(wallets: Wallets) -> None:
    payer, terms = new_payer(9 * OPEN), payment_terms(3 * OPEN)
    authorization = authorize(payer, terms)
    signature = sign(payer, authorization, terms)
    user = user_for_payer(payer.address, terms.chain_id)
    refused_while_closing(user, lambda: take_payment(authorization, signature, "a question"))
    assert not SignedPayment.objects.exists()
    assert not ChainTransaction.objects.filter(purpose="x402").exists()


def test_nothing_is_sent_for_somebody_while_the_account_is_closed(
    wallets: Wallets, consumer: User, wallet: LocalAccount
) -> None:
    quote = ask(consumer, wallet, "deposit", amount="10")
    signature = sign_quote(wallet, quote)
    refused_while_closing(
        consumer, lambda: relay(user=consumer, quote=quote.token, signature=signature)
    )
    assert not Relay.objects.exists()
