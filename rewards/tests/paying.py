"""Signs payments as an agent's wallet does: EIP-712 by eth-account."""

from __future__ import annotations

import secrets
import time
from typing import Any

from eth_account import Account as KeyAccount
from eth_account.signers.local import LocalAccount

from rewards.chain.authorizations import TransferAuthorization
from rewards.chain.signatures import Signature
from rewards.services.dev_chain import give_test_open
from rewards.services.signed_payments import PaymentTerms


def new_payer(amount_wei: int) -> LocalAccount:
    """A wallet with a key of its own and so much OPEN, and not a wei for gas beyond a gift."""
    account: LocalAccount = KeyAccount.create()
    if amount_wei:
        give_test_open(account.address, amount_wei)
    return account


def authorize(payer: LocalAccount, terms: PaymentTerms, **changed: Any) -> TransferAuthorization:
    fields: dict[str, Any] = {
        "payer": payer.address,
        "to": terms.pay_to,
        "amount_wei": terms.amount_wei,
        "valid_after": 0,
        "valid_before": int(time.time()) + 300,
        "nonce": "0x" + secrets.token_hex(32),
    }
    return TransferAuthorization(**fields | changed)


def sign(
    payer: LocalAccount, authorization: TransferAuthorization, terms: PaymentTerms
) -> Signature:
    data = authorization.typed_data(terms.chain_id, terms.asset)
    return Signature.parse("0x" + payer.sign_typed_data(**data).signature.hex().removeprefix("0x"))
