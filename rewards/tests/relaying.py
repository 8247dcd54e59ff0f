"""A wallet with OPEN and not a wei of ETH, and what is done for it."""

from __future__ import annotations

from typing import Any

from eth_account import Account as KeyAccount
from eth_account.signers.local import LocalAccount

from openledger_site.accounts.models import User, Wallet
from rewards.models import Relay
from rewards.services import quote_relay, relay, send_transactions, settle_relays, watch_chain
from rewards.services.relays import RelayQuote
from rewards.services.sender import queue_transaction
from rewards.tests.conftest import Wallets


def poor_wallet(wallets: Wallets, user: User, amount_wei: int) -> LocalAccount:
    """Linked to `user`; it holds `amount_wei` of OPEN and nothing to pay gas with."""
    account: LocalAccount = KeyAccount.create()
    if amount_wei:
        queue_transaction(
            "mint", subject=account.address, account=account.address, amount_wei=str(amount_wei)
        )
        send_transactions()
    Wallet.objects.create(user=user, address=account.address, chain_id=wallets.addresses.chain_id)
    return account


def sign_quote(key: LocalAccount, quote: RelayQuote) -> str:
    """As a wallet does with the JSON of the message."""
    if quote.message is None:
        return ""
    shown = quote.message.for_wallet()
    kinds = {field["name"]: field["type"] for field in shown["types"][quote.message.kind]}
    values = {name: _typed(kinds[name], value) for name, value in shown["message"].items()}
    signed = key.sign_typed_data(shown["domain"], shown["types"], values)
    return "0x" + signed.signature.hex().removeprefix("0x")


def _typed(kind: str, value: str) -> Any:
    if kind.startswith("uint"):
        return int(value)
    return bytes.fromhex(value[2:]) if kind == "bytes32" else value


def ask(user: User, key: LocalAccount, action: str, **given: str) -> RelayQuote:
    return quote_relay(user=user, account=key.address, action=action, given=given)


def order(user: User, key: LocalAccount, action: str, **given: str) -> Relay:
    """Quoted, signed and ordered; nothing is sent yet."""
    quote = ask(user, key, action, **given)
    return relay(user=user, quote=quote.token, signature=sign_quote(key, quote))


def until_final(wallets: Wallets) -> None:
    """As the clock does, until everything is final and settled."""
    send_transactions()
    wallets.finalize()
    send_transactions()
    watch_chain()
    settle_relays()
