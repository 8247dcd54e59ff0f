"""Sending for people who pay the network fee in OPEN (decision 0041).

Quoted first: the very thing is simulated, and the fee is the most that it can cost. With the
signature comes the order: its call is simulated again, the fee is held in the books, and row, hold
and queued transaction are written together. What it did cost is taken once its block is final.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction

from openledger_site.accounts.closing import keep_open
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.outbox import send_on_commit
from rewards.chain.calls import ContractCall
from rewards.chain.errors import CallReverted, ChainError
from rewards.chain.signatures import Signature, SignatureInvalid, TypedMessage
from rewards.models import Hold, Relay
from rewards.relay_fees import FeeTerms, terms_for
from rewards.services.chain import RELAY_LOCK, chain_client, contract_addresses, stand_in_line
from rewards.services.ledger import place_hold
from rewards.services.relay_actions import Given
from rewards.services.relay_checks import (
    Order,
    QuoteOver,
    RelayAway,
    RelayRefused,
    RelayUnderWay,
    addresses_for,
    check_limits,
    how_of,
    in_words,
    is_from_deposit,
    linked_address,
    simulate,
)
from rewards.services.relay_settlement import HOLD_SECONDS
from rewards.services.sender import RELAYED, queue_transaction

SALT = "rewards.relay.quote"


@dataclass(frozen=True)
class RelayQuote:
    """`token` is what `relay` takes; `message` is None where nothing needs to be signed."""

    token: str
    terms: FeeTerms
    message: TypedMessage | None
    is_from_deposit: bool


def quote_relay(*, user: User, account: str, action: str, given: Given) -> RelayQuote:
    """What it would cost at most to have `action` sent for a linked wallet; nothing is written.

    Raises `RelayAway`, `RelayRefused` for what the contracts would refuse, `TooManyRelays`,
    `InsufficientFunds` when neither the balance nor the deposit covers the fee.
    """
    how, address = how_of(action), linked_address(user, account)
    addresses = addresses_for(how)
    try:
        params = how.prepare(user, address, addresses, given)
        rehearsal = how.rehearsal(addresses, address, params)
        gas = chain_client().estimate_gas(address, rehearsal) + how.extra_gas
        terms = terms_for(gas, chain_client().estimate_fees(), settings.RELAY_OPEN_PER_ETH)
    except CallReverted as refusal:
        raise in_words(refusal) from refusal
    except ChainError as problem:
        raise RelayAway() from problem
    order = Order(user, action, address, params, terms)
    check_limits(user)
    out_of_deposit = is_from_deposit(order)
    content = [user.pk, settings.CHAIN_ID, action, address, params]
    prices = [terms.gas_limit, str(terms.max_fee_per_gas_wei), terms.open_per_eth]
    token = signing.dumps([*content, prices], salt=SALT, compress=True)
    message = how.message(addresses, address, params) if how.message else None
    return RelayQuote(token, terms, message, out_of_deposit)


def relay(*, user: User, quote: str, signature: str) -> Relay:
    """Send what was quoted, once a quote; a repeat returns the first row.

    Raises `QuoteOver`, and what `quote_relay` raises. Nothing is kept of what is refused.
    """
    digest = hashlib.sha256(quote.encode()).hexdigest()
    if earlier := Relay.objects.filter(quote_digest=digest, user=user).first():
        return earlier
    order = _read(user, quote)
    linked_address(user, order.account)
    addresses = addresses_for(order.how)
    call = order.how.call(addresses, order.account, order.params, _signed(order, signature))
    simulate(order, call)
    try:
        with transaction.atomic():
            keep_open(user)
            stand_in_line(RELAY_LOCK)
            check_limits(user)
            return _write(order, call, digest)
    except IntegrityError as refusal:
        if earlier := Relay.objects.filter(quote_digest=digest, user=user).first():
            return earlier
        if "one_at_a_time" in str(refusal):
            raise RelayUnderWay() from refusal
        raise


def _write(order: Order, call: ContractCall, digest: str) -> Relay:
    hold = None if is_from_deposit(order) else _hold(order, digest)
    row = queue_transaction(
        RELAYED,
        subject=f"relay:{digest}",
        to=call.to,
        data=call.data.hex(),
        gas_limit=order.terms.gas_limit,
        max_fee_per_gas_wei=str(order.terms.max_fee_per_gas_wei),
    )
    made = Relay.objects.create(
        user=order.user,
        chain_id=settings.CHAIN_ID,
        account=order.account,
        action=order.action,
        quote_digest=digest,
        authorization_nonce=order.params["nonce"] if order.deposit_wei else "",
        gas_limit=order.terms.gas_limit,
        max_fee_per_gas_wei=order.terms.max_fee_per_gas_wei,
        open_per_eth=order.terms.open_per_eth,
        quoted_wei=order.terms.most_wei,
        hold=hold,
        chain_transaction=row,
    )
    record_audit(
        "relay.sent",
        actor=order.user,
        subject=f"relay:{made.public_id}",
        what=order.action,
        quoted_wei=str(made.quoted_wei),
    )
    send_on_commit("rewards.send_transactions", queue="chain")
    return made


def _hold(order: Order, digest: str) -> Hold:
    return place_hold(
        order.user,
        order.terms.most_wei,
        key=f"relay:{digest}",
        reason="Network fee",
        expires_in_seconds=HOLD_SECONDS,
    )


def _read(user: User, quote: str) -> Order:
    try:
        user_id, chain_id, action, account, params, prices = signing.loads(
            quote, salt=SALT, max_age=settings.RELAY_QUOTE_SECONDS
        )
    except signing.BadSignature as problem:  # also one that is too old
        raise QuoteOver(where="quote") from problem
    if (user_id, chain_id) != (user.pk, settings.CHAIN_ID):
        raise QuoteOver(where="quote")
    how_of(action)
    return Order(user, action, account, params, FeeTerms(prices[0], int(prices[1]), prices[2]))


def _signed(order: Order, text: str) -> Signature | None:
    if order.how.message is None:
        return None
    message = order.how.message(contract_addresses(), order.account, order.params)
    try:
        signature = Signature.parse(text)
        signer = message.signer(signature)
    except SignatureInvalid as problem:
        raise RelayRefused(str(problem), where="signature") from problem
    if signer != order.account:
        raise RelayRefused(
            "The signature is not by that wallet over what was quoted."
            " Smart accounts pay their fee in ETH.",
            where="signature",
        )
    return signature
