"""The wire format of x402 version 2 over HTTP, scheme `exact` on EVM chains, and nothing else.

Three headers carry base64 of JSON: PAYMENT-REQUIRED (what an answer costs), PAYMENT-SIGNATURE (the
signed authorization), PAYMENT-RESPONSE (what was settled).
Source: the x402 specification, version 2, and its HTTP transport.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from eth_utils.address import to_checksum_address

from openledger_site.core.errors import DomainError
from rewards.chain.authorizations import TransferAuthorization
from rewards.models import SignedPayment
from rewards.services import PaymentRefused, PaymentTerms

VERSION = 2
SCHEME = "exact"
REQUIRED, SIGNATURE, RESPONSE = "PAYMENT-REQUIRED", "PAYMENT-SIGNATURE", "PAYMENT-RESPONSE"
HEADER_BYTES_MAX = 8_192
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NONCE = re.compile(r"0x[0-9a-fA-F]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}")
_FIELDS = {"from", "to", "value", "validAfter", "validBefore", "nonce"}
_UINT256_MAX = 2**256 - 1


class PaymentMalformed(DomainError):
    status = 400
    code = "invalid_payload"


def encode(document: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def required(terms: PaymentTerms, url: str, description: str, error: str) -> dict[str, Any]:
    """The `PaymentRequired` document for one answer at `url`."""
    return {
        "x402Version": VERSION,
        "error": error,
        "resource": {"url": url, "description": description, "mimeType": "application/json"},
        "accepts": [
            {
                "scheme": SCHEME,
                "network": terms.network,
                "amount": str(terms.amount_wei),
                "asset": terms.asset,
                "payTo": terms.pay_to,
                "maxTimeoutSeconds": terms.timeout_seconds,
                "extra": terms.domain,
            }
        ],
        "extensions": {},
    }


def settled(payment: SignedPayment) -> dict[str, Any]:
    """The `SettlementResponse` of a payment whose money is in the books."""
    return {
        "success": True,
        "transaction": payment.transaction_hash,
        "network": f"eip155:{payment.chain_id}",
        "payer": payment.payer,
        "amount": str(payment.taken_wei),
    }


def not_settled(terms: PaymentTerms, reason: str) -> dict[str, Any]:
    return {"success": False, "errorReason": reason, "transaction": "", "network": terms.network}


def parse(header: str, terms: PaymentTerms) -> tuple[TransferAuthorization, str]:
    """The authorization and its signature text. What is not in the form raises `PaymentMalformed`
    (400); what is but accepts other terms than these raises `PaymentRefused` (402).
    """
    document = _decoded(header)
    version = document.get("x402Version")
    if type(version) is not int or version != VERSION:
        raise PaymentMalformed(
            f"Send x402Version {VERSION}.", where="x402Version", code="invalid_x402_version"
        )
    accepted, payload = _object(document, "accepted"), _object(document, "payload")
    authorization = _authorization(_object(payload, "authorization"))
    _check_accepted(accepted, authorization, terms)
    signature = payload.get("signature")
    if payload.keys() != {"signature", "authorization"} or not isinstance(signature, str):
        raise PaymentMalformed(
            "A payload has a signature and an authorization, nothing else.", where="payload"
        )
    return authorization, signature


def _decoded(header: str) -> dict[str, Any]:
    if len(header) > HEADER_BYTES_MAX:
        raise PaymentMalformed(f"{SIGNATURE} is too long.", where=SIGNATURE, limit=HEADER_BYTES_MAX)
    try:
        document = json.loads(
            base64.b64decode(header, validate=True), object_pairs_hook=_once_per_name
        )
    except (ValueError, RecursionError):
        raise PaymentMalformed(
            f"{SIGNATURE} is not base64 of a JSON object with each name once.", where=SIGNATURE
        ) from None
    if not isinstance(document, dict):
        raise PaymentMalformed(f"{SIGNATURE} is not a JSON object.", where=SIGNATURE)
    return document


def _once_per_name(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers of a name that stands twice may take different ones."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name twice")
    return document


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise PaymentMalformed(f"{name} must be a JSON object.", where=name)
    return value


def _authorization(fields: dict[str, Any]) -> TransferAuthorization:
    if fields.keys() != _FIELDS:
        names = ", ".join(sorted(_FIELDS))
        raise PaymentMalformed(f"An authorization has {names}.", where="authorization")
    return TransferAuthorization(
        payer=_address(fields["from"], "authorization.from"),
        to=_address(fields["to"], "authorization.to"),
        amount_wei=_number(fields, "value"),
        valid_after=_number(fields, "validAfter"),
        valid_before=_number(fields, "validBefore"),
        nonce=_text(_NONCE, fields["nonce"], "authorization.nonce").lower(),
    )


def _text(form: re.Pattern[str], value: Any, where: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise PaymentMalformed(f"{where} is not in the form of x402.", where=where)
    return value


def _address(value: Any, where: str) -> str:
    return str(to_checksum_address(_text(_ADDRESS, value, where)))


def _number(fields: dict[str, Any], name: str) -> int:
    number = int(_text(_NUMBER, fields[name], f"authorization.{name}"))
    if number > _UINT256_MAX:
        raise PaymentMalformed(f"{name} is too large.", where=f"authorization.{name}")
    return number


def _check_accepted(
    accepted: dict[str, Any], authorization: TransferAuthorization, terms: PaymentTerms
) -> None:
    """The way to pay that the client chose must be the one that we offer."""
    wanted = {
        "scheme": (SCHEME, "unsupported_scheme"),
        "network": (terms.network, "invalid_network"),
        "asset": (terms.asset, "invalid_payment_requirements"),
        "payTo": (terms.pay_to, "invalid_exact_evm_payload_recipient_mismatch"),
        "amount": (str(authorization.amount_wei), "invalid_payment_requirements"),
    }
    for name, (value, code) in wanted.items():
        given = accepted.get(name)
        if not isinstance(given, str) or given.lower() != value.lower():
            raise PaymentRefused(
                f"{name} must be {value}.", where=f"accepted.{name}", limit=value, code=code
            )
