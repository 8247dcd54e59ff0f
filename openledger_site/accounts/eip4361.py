"""Sign-In with Ethereum (EIP-4361): one strict parser and one writer, no guessing.

The grammar is the EIP's ABNF with every optional part in its fixed order. Anything else, an extra
space or line included, is refused: a message we cannot read exactly is one a wallet may have shown
differently from what we understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.address import is_checksum_address

MESSAGE_LENGTH_MAX = 4096
_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})"
_GRAMMAR = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<domain>[A-Za-z0-9._\-\[\]:]+)"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n"
    r"\n(?:(?P<statement>[\x20-\x7e]+)\n)?\n"
    r"URI: (?P<uri>[\x21-\x7e]+)\n"
    r"Version: (?P<version>1)\n"
    r"Chain ID: (?P<chain_id>[1-9]\d{0,17})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,64})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_TIME}))?"
    r"(?:\nRequest ID: (?P<request_id>[\x21-\x7e]*))?"
    r"(?:\nResources:(?P<resources>(?:\n- [\x21-\x7e]+)*))?"
)


class MalformedMessage(ValueError):
    """The text is not an EIP-4361 message, or its signature is not one."""


@dataclass(frozen=True)
class SignInMessage:
    """The fields of one message. Times are aware; `address` is EIP-55 checksummed."""

    domain: str
    address: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: datetime
    expiration_time: datetime | None
    statement: str = ""
    scheme: str | None = None
    not_before: datetime | None = None
    request_id: str | None = None
    resources: tuple[str, ...] = ()

    def text(self) -> str:
        """The exact text to sign."""
        lines = [
            f"{self.scheme + '://' if self.scheme else ''}{self.domain}"
            " wants you to sign in with your Ethereum account:",
            self.address,
            "",
            *([self.statement] if self.statement else []),
            "",
            f"URI: {self.uri}",
            "Version: 1",
            f"Chain ID: {self.chain_id}",
            f"Nonce: {self.nonce}",
            f"Issued At: {_write_time(self.issued_at)}",
        ]
        if self.expiration_time:
            lines.append(f"Expiration Time: {_write_time(self.expiration_time)}")
        if self.not_before:
            lines.append(f"Not Before: {_write_time(self.not_before)}")
        if self.request_id is not None:
            lines.append(f"Request ID: {self.request_id}")
        if self.resources:
            lines += ["Resources:", *(f"- {resource}" for resource in self.resources)]
        return "\n".join(lines)


def parse_message(text: str) -> SignInMessage:
    """Read a message; raises `MalformedMessage` for anything outside the grammar."""
    match = _GRAMMAR.fullmatch(text) if len(text) <= MESSAGE_LENGTH_MAX else None
    if match is None:
        raise MalformedMessage("This is not a sign-in message in the EIP-4361 form.")
    if not is_checksum_address(match["address"]):
        raise MalformedMessage("The address is not written with its EIP-55 checksum.")
    issued_at = _read_time(match["issued_at"])
    if issued_at is None:
        raise MalformedMessage("Issued At is missing.")
    return SignInMessage(
        domain=match["domain"],
        address=match["address"],
        uri=match["uri"],
        chain_id=int(match["chain_id"]),
        nonce=match["nonce"],
        issued_at=issued_at,
        expiration_time=_read_time(match["expiration_time"]),
        statement=match["statement"] or "",
        scheme=match["scheme"],
        not_before=_read_time(match["not_before"]),
        request_id=match["request_id"],
        resources=tuple(re.findall(r"- (\S+)", match["resources"] or "")),
    )


def recover_signer(text: str, signature: str) -> str:
    """The address whose key signed `text` with `personal_sign` (EIP-191)."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{130}", signature):
        raise MalformedMessage("The signature is not 65 bytes of hex.")
    # EIP-2: of the two valid s values only the lower one, so that a signature has one form.
    if (
        int(signature[66:130], 16)
        > 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
    ):
        raise MalformedMessage("The signature is in its malleable high-s form.")
    try:
        return str(Account.recover_message(encode_defunct(text=text), signature=signature))
    except Exception as problem:  # the library raises several kinds for one fact
        raise MalformedMessage("The signature cannot be read.") from problem


def _read_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).astimezone(UTC)
    except ValueError as problem:
        raise MalformedMessage(f"{text} is not a time.") from problem


def _write_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
