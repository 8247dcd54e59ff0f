"""Payments by signature on a real chain: checked before, in custody and credited once after."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from eth_account import Account as KeyAccount
from eth_account.signers.local import LocalAccount
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from openledger_site.accounts.services import WalletClosed, user_for_payer
from openledger_site.core.audit import record_audit
from rewards.chain.authorizations import TransferAuthorization
from rewards.chain.calls import authorized_transfer_call, encode_call
from rewards.chain.signatures import Signature
from rewards.models import Account, ChainTransaction, Deposit, SignedPayment
from rewards.selectors import spendable_wei
from rewards.services import place_hold, reconcile, send_transactions, watch_chain
from rewards.services.ledger import lock_accounts, system_account, user_account
from rewards.services.sender import queue_transaction
from rewards.services.signed_payments import (
    PaymentFailed,
    PaymentRefused,
    PaymentsAway,
    PaymentTerms,
    PaymentUsed,
    TooManyPayments,
    check_signature,
    check_terms,
    check_transfer,
    check_unused,
    cover_payment,
    is_certain,
    payment_by,
    payment_terms,
    take_payment,
)
from rewards.tests.conftest import OPEN, Fund, Wallets, until_somebody_waits
from rewards.tests.paying import authorize, new_payer, sign

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
FEE = OPEN // 7
Take = Callable[..., SignedPayment]


@pytest.fixture
def terms(wallets: Wallets) -> PaymentTerms:
    return payment_terms(FEE)


@pytest.fixture
def payer(wallets: Wallets) -> LocalAccount:
    return new_payer(OPEN)


def check(payer: LocalAccount, terms: PaymentTerms, **changed: Any) -> None:
    authorization = authorize(payer, terms, **changed)
    signature = sign(payer, authorization, terms)
    check_signature(terms, authorization, signature.hex)
    check_terms(terms, authorization)
    check_unused(terms, authorization)
    check_transfer(terms, authorization, signature)


def take(payer: LocalAccount, terms: PaymentTerms, **changed: Any) -> SignedPayment:
    authorization = authorize(payer, terms, **changed)
    return take_payment(authorization, sign(payer, authorization, terms), "f" * 64)


def settle(wallets: Wallets) -> None:
    """As the worker does, until everything is final."""
    send_transactions()
    wallets.finalize()
    send_transactions()
    watch_chain()


def custody(wallets: Wallets) -> int:
    return wallets.client.balance_of(wallets.addresses.token, wallets.addresses.escrow)


def books_match(wallets: Wallets) -> bool:
    report = reconcile()
    assert report.ok, report.as_dict()
    held = -system_account(Account.Kind.CUSTODY).balance_wei
    return bool(held == custody(wallets) and report.figures["unsolicited_wei"] == 0)


def test_a_payment_is_credited_to_the_wei_when_it_is_final(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    payment = take(payer, terms)
    send_transactions()
    watch_chain()
    assert not is_certain(payment)  # mined, not final
    settle(wallets)
    assert is_certain(payment)
    assert (spendable_wei(payment.user), custody(wallets)) == (FEE, FEE)
    assert wallets.client.balance_of(terms.asset, payer.address) == OPEN - FEE
    assert payment.transaction_hash == Deposit.objects.get().transaction_hash
    assert books_match(wallets)


def test_what_is_kept_of_a_question_confirms_no_guess_of_it(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms, settings: Settings
) -> None:
    """Its text may have been erased meanwhile; whoever asks again is still known."""
    authorization = authorize(payer, terms)
    payment = take_payment(authorization, sign(payer, authorization, terms), "f" * 64)
    assert payment.fingerprint != "f" * 64
    assert payment_by(authorization, "f" * 64) == payment
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert payment_by(authorization, "f" * 64) == payment
    with pytest.raises(PaymentUsed):
        payment_by(authorization, "e" * 64)


def test_the_payers_human_finds_the_account_by_signing_in(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    first, second = take(payer, terms), take(payer, terms)
    assert Wallet.objects.get(address=payer.address).user == first.user == second.user
    assert not first.user.has_usable_password()


def test_a_linked_wallet_pays_into_its_own_account(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms, consumer: User
) -> None:
    Wallet.objects.create(user=consumer, address=payer.address, chain_id=terms.chain_id)
    assert take(payer, terms).user == consumer
    Wallet.objects.update(unlinked_at="2026-01-01T00:00:00Z")
    with pytest.raises(WalletClosed):
        take(payer, terms)


# The last member says that the value counts from now.
WRONG: list[tuple[str, Any, str, bool]] = [
    ("to", "0x" + "0" * 39 + "1", "recipient_mismatch", False),
    ("amount_wei", FEE - 1, "authorization_value", False),
    ("valid_before", -1, "authorization_valid_before", True),
    ("valid_before", 10, "authorization_valid_before", True),
    ("valid_after", 3_600, "authorization_valid_after", True),
]


@pytest.mark.parametrize(("field", "value", "reason", "from_now"), WRONG)
def test_other_terms_are_refused_and_nothing_is_queued(
    payer: LocalAccount, terms: PaymentTerms, field: str, value: Any, reason: str, from_now: bool
) -> None:
    with pytest.raises(PaymentRefused) as refusal:
        check(payer, terms, **{field: int(time.time()) + value if from_now else value})
    assert refusal.value.code == f"invalid_exact_evm_payload_{reason}"
    assert not ChainTransaction.objects.filter(purpose="x402").exists()


def test_a_signature_for_another_chain_token_or_payer_is_refused(
    payer: LocalAccount, terms: PaymentTerms
) -> None:
    for other in ({"chain_id": 1}, {"asset": terms.pay_to}):
        authorization = authorize(payer, terms)
        elsewhere = PaymentTerms(**vars(terms) | other)
        with pytest.raises(PaymentRefused, match="not by the payer"):
            check_signature(terms, authorization, sign(payer, authorization, elsewhere).hex)
    authorization = authorize(payer, terms)
    with pytest.raises(PaymentRefused, match="not by the payer"):
        check_signature(terms, authorization, sign(new_payer(0), authorization, terms).hex)


def test_a_signature_in_its_other_form_is_refused(payer: LocalAccount, terms: PaymentTerms) -> None:
    """The same authorization has a second valid signature in plain ECDSA; the token takes one."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    authorization = authorize(payer, terms)
    good = sign(payer, authorization, terms)
    high = (order - int.from_bytes(good.s)).to_bytes(32)
    twin = Signature(55 - good.v, good.r, high)
    with pytest.raises(PaymentRefused, match="high-s"):
        check_signature(terms, authorization, twin.hex)


def test_too_little_open_is_refused_with_what_there_is(terms: PaymentTerms) -> None:
    with pytest.raises(PaymentRefused) as refusal:
        check(new_payer(FEE - 1), terms)
    assert (refusal.value.code, refusal.value.limit) == ("insufficient_funds", FEE - 1)


def test_a_nonce_used_on_chain_is_refused(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    authorization = authorize(payer, terms)
    anybody = wallets.new()
    call = authorized_transfer_call(terms.asset, authorization, sign(payer, authorization, terms))
    wallets.send(anybody, call)
    with pytest.raises(PaymentRefused, match="nonce was used"):
        check_unused(terms, authorization)


def test_one_signature_is_one_payment_and_only_for_one_thing(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    authorization = authorize(payer, terms)
    signature = sign(payer, authorization, terms)
    first = take_payment(authorization, signature, "a" * 64)
    assert take_payment(authorization, signature, "a" * 64) == first
    assert payment_by(authorization, "a" * 64) == first
    with pytest.raises(PaymentUsed):
        payment_by(authorization, "b" * 64)
    with pytest.raises(PaymentUsed):
        take_payment(authorization, signature, "b" * 64)
    settle(wallets)
    assert spendable_wei(first.user) == FEE


def test_eight_takers_of_one_signature_at_once_queue_one_transfer(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    authorization = authorize(payer, terms)
    signature = sign(payer, authorization, terms)

    def taken(_: int) -> int:
        try:
            return take_payment(authorization, signature, "a" * 64).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(taken, range(8)))) == 1
    assert ChainTransaction.objects.filter(purpose="x402").count() == 1
    assert User.objects.filter(wallets__address=payer.address).count() == 1
    settle(wallets)
    assert spendable_wei(SignedPayment.objects.get().user) == FEE == custody(wallets)


def test_whoever_broadcasts_first_the_payer_is_credited_once(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    """A signature can be read in the pool and sent by somebody else; the money comes as well."""
    anybody = wallets.new()
    authorization = authorize(payer, terms)
    signature = sign(payer, authorization, terms)
    payment = take_payment(authorization, signature, "a" * 64)
    wallets.send(anybody, authorized_transfer_call(terms.asset, authorization, signature))
    send_transactions()
    assert ChainTransaction.objects.get(purpose="x402").state == ChainTransaction.State.FAILED
    assert not is_certain(payment)
    settle(wallets)
    assert is_certain(payment)
    assert spendable_wei(payment.user) == FEE == custody(wallets)
    assert books_match(wallets)


def test_a_wallet_emptied_meanwhile_fails_and_loses_nothing(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    elsewhere = wallets.new()
    payment = take(payer, terms)
    other = authorize(payer, terms, to=elsewhere.address, amount_wei=OPEN)
    call = authorized_transfer_call(terms.asset, other, sign(payer, other, terms))
    wallets.send(elsewhere, call)
    settle(wallets)
    with pytest.raises(PaymentFailed):
        is_certain(payment)
    assert (spendable_wei(payment.user), custody(wallets)) == (0, 0)
    assert books_match(wallets)


def test_a_nonce_spent_on_somebody_else_fails(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    elsewhere = wallets.new()
    payment = take(payer, terms)
    other = authorize(payer, terms, to=elsewhere.address, nonce=payment.nonce)
    call = authorized_transfer_call(terms.asset, other, sign(payer, other, terms))
    wallets.send(elsewhere, call)
    settle(wallets)
    with pytest.raises(PaymentFailed):
        is_certain(payment)
    assert books_match(wallets)


class Killed(BaseException):
    """As `kill -9`: nothing catches it, and what was not committed is gone."""


CRASH_POINTS = [
    "signed_payments.record_audit",  # the row is written, not committed
    "signed_payments.send_on_commit",  # the transfer is queued, not committed
    "sender._store",  # signed, not stored
    "sender._broadcast",  # stored, not sent
    "sender._book_receipt",  # mined, not noted
    "deposits.post",  # seen, not credited
    "deposits.carry_out_decisions",  # credited
]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_anywhere_ends_in_one_credit(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms, point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Killed once at each point; the client sends its signature again and the rounds go on."""
    authorization = authorize(payer, terms)
    signature = sign(payer, authorization, terms)

    def take_and_settle() -> SignedPayment:
        taken = take_payment(authorization, signature, "a" * 64)
        settle(wallets)
        return taken

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(f"rewards.services.{point}", die)
        with pytest.raises(Killed):
            take_and_settle()
    for _ in range(2):
        payment = take_and_settle()
    assert is_certain(payment)
    assert spendable_wei(payment.user) == FEE == custody(wallets)
    assert wallets.client.balance_of(terms.asset, payer.address) == OPEN - FEE
    assert books_match(wallets)


def test_bytes_that_arrived_before_the_crash_are_found_again(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, and killed before that was written down."""
    payment = take(payer, terms)

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr("rewards.services.sender._broadcast", die)
        with pytest.raises(Killed):
            send_transactions()
    row = ChainTransaction.objects.get(purpose="x402")
    assert row.state == ChainTransaction.State.SIGNED
    wallets.client.send_raw(bytes(row.raw))
    for _ in range(2):
        settle(wallets)
    assert is_certain(payment)
    assert spendable_wei(payment.user) == FEE == custody(wallets)


def test_a_reorganisation_takes_the_payment_back_and_gives_it_again(
    wallets: Wallets, payer: LocalAccount, terms: PaymentTerms
) -> None:
    payment = take(payer, terms)
    before = wallets.client.latest_block().number
    settle(wallets)
    depth = wallets.client.latest_block().number - before
    wallets.client.request("anvil_reorg", depth, [])
    wallets.finalize()
    watch_chain()
    payment.refresh_from_db()
    assert not payment.certain
    for _ in range(2):
        settle(wallets)
    assert is_certain(payment)
    assert spendable_wei(payment.user) == FEE == custody(wallets)


def test_open_sent_without_a_signature_stays_unsolicited(
    wallets: Wallets, terms: PaymentTerms
) -> None:
    signer = wallets.new(2)
    call = encode_call(terms.asset, "transfer(address,uint256)", terms.pay_to, OPEN)
    wallets.send(signer, call)
    wallets.finalize()
    watch_chain()
    assert not Deposit.objects.exists()
    assert reconcile().figures["unsolicited_wei"] == OPEN


def test_many_payments_in_a_minute_are_slowed_down(
    payer: LocalAccount, terms: PaymentTerms, settings: Settings
) -> None:
    settings.X402_PAYMENTS_PER_MINUTE = 2
    take(payer, terms)
    take(payer, terms)
    with pytest.raises(TooManyPayments):
        take(payer, terms)


def test_without_the_chain_nothing_is_taken(
    payer: LocalAccount, terms: PaymentTerms, settings: Settings
) -> None:
    settings.CHAIN_RPC_URL = "http://127.0.0.1:9"
    with pytest.raises(PaymentsAway):
        check_unused(terms, authorize(payer, terms))


def test_the_database_keeps_a_payment_as_it_was_signed(
    payer: LocalAccount, terms: PaymentTerms
) -> None:
    payment = take(payer, terms)
    row = SignedPayment.objects.filter(pk=payment.pk)
    for change in (
        lambda: row.update(amount_wei=1),
        lambda: row.update(fingerprint="0" * 64),
        lambda: row.delete(),
    ):
        with pytest.raises(Exception, match=r"(?i)cannot|kept"):
            change()
    with pytest.raises(IntegrityError, match="once_per_nonce"):
        SignedPayment.objects.create(
            user=payment.user, chain_id=payment.chain_id, payer=payment.payer, nonce=payment.nonce,
            amount_wei=1, fingerprint="", source="balance",
        )  # fmt: skip


def test_the_queue_knows_a_payment_by_payer_and_nonce(
    payer: LocalAccount, terms: PaymentTerms
) -> None:
    payment = take(payer, terms)
    subject = f"{payment.payer}:{payment.nonce}"
    assert queue_transaction("x402", subject=subject) == payment.chain_transaction


def test_a_covered_question_and_an_answer_that_is_paid_do_not_wait_in_a_circle(
    fund: Fund,
) -> None:
    """Paying locks the payer's account and then the audit log; so does what is asked meanwhile."""
    wallet = KeyAccount.create()
    payer = user_for_payer(wallet.address, 31337)
    fund(payer, OPEN)
    authorization = TransferAuthorization(
        wallet.address, "0x" + "1" * 40, OPEN, 0, 2**32, "0x" + "2" * 64
    )

    def cover_and_hold() -> None:
        with transaction.atomic():
            cover_payment(authorization, "f" * 64)
            place_hold(payer, FEE, key="answer", reason="Answer")
        connection.close()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            lock_accounts([user_account(payer, Account.Kind.SPENDABLE).pk])
            asking = other.submit(cover_and_hold)
            until_somebody_waits()
            record_audit("answer.settle", actor=payer, subject="settlement:1")
        asking.result()
    assert spendable_wei(payer) == OPEN - FEE
