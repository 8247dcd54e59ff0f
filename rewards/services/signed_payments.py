"""Paying by signature (x402 scheme `exact`): verified before anything leaves, written down once.

The transfer goes straight into custody, so it is a deposit like any other: the watcher credits it
when its block is final, whoever broadcast it, and a reorganisation voids it like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from openledger_site.accounts.closing import keep_open
from openledger_site.accounts.services import user_for_payer
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import DomainError, PaymentRequired, Unavailable
from openledger_site.core.fingerprints import is_fingerprint, keyed_fingerprint
from openledger_site.core.money import format_open
from openledger_site.core.outbox import send_on_commit
from rewards.chain.authorizations import (
    TOKEN_DOMAIN,
    TransferAuthorization,
    recover_payer,
)
from rewards.chain.calls import authorized_transfer_call
from rewards.chain.errors import CallReverted, ChainError
from rewards.chain.signatures import Signature, SignatureInvalid
from rewards.models import Account, ChainCursor, ChainTransaction, SignedPayment
from rewards.services.chain import chain_client, contract_addresses, operator_signer
from rewards.services.ledger import lock_accounts, user_account
from rewards.services.sender import queue_transaction

USE = "signed payment"
PURPOSE = "x402"
# The transfer must be mined before the authorization ends: time to queue, sign and send it.
MARGIN_SECONDS = 30
CLOCK_SKEW_SECONDS = 5


class PaymentRefused(PaymentRequired):
    """`code` is the reason in the words of the x402 specification. Nothing was broadcast."""

    code = "invalid_payload"


class PaymentUsed(PaymentRequired):
    code = "payment_used"
    message = "This signature paid for an answer before. Sign a new payment with a new nonce."


class PaymentFailed(PaymentRequired):
    code = "payment_failed"
    message = (
        "The token refused this transfer; nothing was taken from your wallet. Sign a new payment."
    )


class TooManyPayments(DomainError):
    status = 429
    code = "too_many_payments"
    message = "This wallet paid very often within a minute. Wait a minute, then pay again."


class PaymentsAway(Unavailable):
    code = "payments_unavailable"
    message = "The chain cannot be asked at the moment. Nothing was taken; try again shortly."


@dataclass(frozen=True)
class PaymentTerms:
    """What a signature must say: at least `amount_wei` of `asset` on a chain to `pay_to`."""

    chain_id: int
    asset: str
    pay_to: str
    amount_wei: int
    domain: dict[str, str]
    timeout_seconds: int

    @property
    def network(self) -> str:
        """The chain's CAIP-2 name."""
        return f"eip155:{self.chain_id}"


def payment_terms(amount_wei: int) -> PaymentTerms:
    """Terms for one payment. Raises `ContractsMissing` before the contracts are deployed."""
    addresses = contract_addresses()
    return PaymentTerms(
        chain_id=addresses.chain_id,
        asset=addresses.token,
        pay_to=addresses.escrow,
        amount_wei=max(amount_wei, settings.X402_MINIMUM_WEI, 1),
        domain=TOKEN_DOMAIN,
        timeout_seconds=settings.X402_TIMEOUT_SECONDS,
    )


def check_signature(
    terms: PaymentTerms, authorization: TransferAuthorization, signature_text: str
) -> Signature:
    """The signature, in the one form that the token takes, is the payer's own over these words.

    Raises `PaymentRefused`.
    """
    try:
        signature = Signature.parse(signature_text)
        signer = recover_payer(authorization, signature, chain_id=terms.chain_id, token=terms.asset)
    except SignatureInvalid as problem:
        raise _refused("signature", str(problem), "payload.signature") from problem
    if signer != authorization.payer:
        raise _refused(
            "signature",
            "The signature is not by the payer over these terms on this chain."
            " Wallets without a key of their own (smart accounts) cannot pay here.",
            "payload.signature",
        )
    return signature


def check_terms(terms: PaymentTerms, authorization: TransferAuthorization) -> None:
    """Payee, amount and times are those of the offer. Raises `PaymentRefused`."""
    if authorization.to != terms.pay_to:
        raise _refused("recipient_mismatch", f"Pay to {terms.pay_to}.", "authorization.to")
    if authorization.amount_wei < terms.amount_wei:
        raise _refused(
            "authorization_value",
            f"This answer can cost up to {format_open(terms.amount_wei)} OPEN.",
            "authorization.value",
            terms.amount_wei,
        )
    now = int(time.time())
    if authorization.valid_after > now + CLOCK_SKEW_SECONDS:
        raise _refused(
            "authorization_valid_after", "It is not valid yet.", "authorization.validAfter"
        )
    if authorization.valid_before < now + MARGIN_SECONDS:
        raise _refused(
            "authorization_valid_before",
            f"It has expired, or does within {MARGIN_SECONDS} seconds.",
            "authorization.validBefore",
        )


def _refused(reason: str, message: str, where: str, limit: int | None = None) -> PaymentRefused:
    code = f"invalid_exact_evm_payload_{reason}"
    return PaymentRefused(message, where=where, limit=limit, code=code)


def check_unused(terms: PaymentTerms, authorization: TransferAuthorization) -> None:
    """Refuse a nonce that the token knows: its signature may be public, so it proves nothing.

    Raises `PaymentRefused`, and `PaymentsAway` when the chain cannot be asked.
    """
    payer, nonce = authorization.payer, authorization.nonce
    with _chain_asked():
        if chain_client().is_authorization_used(terms.asset, payer, nonce):
            raise PaymentRefused(
                "This nonce was used on chain. Sign a new payment with a new nonce.",
                where="authorization.nonce",
                code="invalid_transaction_state",
            )


def check_transfer(
    terms: PaymentTerms, authorization: TransferAuthorization, signature: Signature
) -> None:
    """Whether the wallet has the OPEN, and the very call would go through now.

    Raises `PaymentRefused`, and `PaymentsAway` when the chain cannot be asked.
    """
    client = chain_client()
    with _chain_asked():
        balance = client.balance_of(terms.asset, authorization.payer)
        if balance < authorization.amount_wei:
            raise PaymentRefused(
                f"The wallet has {format_open(balance)} OPEN.",
                where="authorization.value",
                limit=balance,
                code="insufficient_funds",
            )
        call = authorized_transfer_call(terms.asset, authorization, signature)
        client.estimate_gas(operator_signer().address, call)


@contextmanager
def _chain_asked() -> Iterator[None]:
    try:
        yield
    except CallReverted as refusal:
        raise PaymentRefused(
            f"The token would refuse this transfer: {refusal.error_name}.",
            where="payload",
            code="invalid_transaction_state",
        ) from refusal
    except ChainError as problem:
        raise PaymentsAway() from problem


def payment_by(authorization: TransferAuthorization, fingerprint: str) -> SignedPayment | None:
    """The payment that this signature made before, for the same thing; None when it is new.

    Raises `PaymentUsed` when it paid for something else.
    """
    payment = (
        SignedPayment.objects.select_related("user", "chain_transaction", "deposit")
        .filter(chain_id=settings.CHAIN_ID, payer=authorization.payer, nonce=authorization.nonce)
        .first()
    )
    if payment is not None and not is_fingerprint(payment.fingerprint, fingerprint, USE):
        raise PaymentUsed()
    return payment


def take_payment(
    authorization: TransferAuthorization, signature: Signature, fingerprint: str
) -> SignedPayment:
    """Write the payment down and queue its transfer, in one transaction, once per payer and nonce.

    The caller has checked it by the four checks above. Raises `TooManyPayments`,
    `WalletClosed`, and `PaymentUsed` when a moment ago it paid for something else.
    """
    return _write(
        authorization,
        fingerprint,
        lambda: queue_transaction(
            PURPOSE,
            subject=f"{authorization.payer}:{authorization.nonce}",
            payer=authorization.payer,
            to=authorization.to,
            amount_wei=str(authorization.amount_wei),
            valid_after=authorization.valid_after,
            valid_before=authorization.valid_before,
            nonce=authorization.nonce,
            signature=signature.hex,
        ),
    )


def cover_payment(authorization: TransferAuthorization, fingerprint: str) -> SignedPayment:
    """As `take_payment`, for a payer whose balance covers it: the wallet is left alone.

    In the transaction that then holds what it costs. Both lock the account before the audit log,
    which is the order of everybody who pays.
    """
    return _write(authorization, fingerprint, None)


def _write(
    authorization: TransferAuthorization,
    fingerprint: str,
    queue: Callable[[], ChainTransaction] | None,
) -> SignedPayment:
    user = user_for_payer(authorization.payer, settings.CHAIN_ID)
    _check_rate(authorization.payer)
    try:
        with transaction.atomic():
            keep_open(user)
            if queue is None:
                lock_accounts([user_account(user, Account.Kind.SPENDABLE).pk])
            payment = SignedPayment.objects.create(
                user=user,
                chain_id=settings.CHAIN_ID,
                payer=authorization.payer,
                nonce=authorization.nonce,
                amount_wei=authorization.amount_wei,
                fingerprint=keyed_fingerprint(fingerprint, USE),
                source=SignedPayment.Source.CHAIN if queue else SignedPayment.Source.BALANCE,
                chain_transaction=queue() if queue else None,
            )
            record_audit(
                "payment.signed",
                actor=user,
                subject=f"signed_payment:{payment.public_id}",
                amount_wei=str(payment.amount_wei),
                source=payment.source,
            )
            if queue:
                send_on_commit("rewards.send_transactions", queue="chain")
    except IntegrityError:
        # The same signature arrived twice at once: the other request's row stands, ours is gone.
        earlier = payment_by(authorization, fingerprint)
        if earlier is None:
            raise
        return earlier
    return payment


def _check_rate(payer: str) -> None:
    minute = Now() - timedelta(minutes=1)
    recent = SignedPayment.objects.filter(payer=payer, created_at__gt=minute).count()
    if recent >= settings.X402_PAYMENTS_PER_MINUTE:
        raise TooManyPayments(limit=settings.X402_PAYMENTS_PER_MINUTE)


def is_certain(payment: SignedPayment) -> bool:
    """Whether the payment's money is in the books: its block is final, or the balance covers it.

    Raises `PaymentFailed` once it can never be.
    """
    payment.refresh_from_db()
    if payment.certain:
        return True
    row = payment.chain_transaction
    if row is None or row.state != ChainTransaction.State.FAILED:
        return False
    try:
        given_up = _is_given_up(payment)
    except ChainError:
        return False
    if given_up:
        raise PaymentFailed()
    return False


def _is_given_up(payment: SignedPayment) -> bool:
    """Our transaction failed. Somebody may have sent the same signature before us: its transfer
    went through all the same, and the watcher credits it once it is final."""
    client, token = chain_client(), contract_addresses().token
    if not client.is_authorization_used(token, payment.payer, payment.nonce):
        return True
    cursor = ChainCursor.objects.filter(chain_id=payment.chain_id).first()
    if cursor is None or not client.is_authorization_used(
        token, payment.payer, payment.nonce, cursor.block_number
    ):
        return False
    payment.refresh_from_db()  # the cursor's block is in the books: so would its deposit be
    return not payment.certain
