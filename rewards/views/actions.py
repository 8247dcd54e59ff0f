"""What a proposal would do, in words: our own calls decoded, anything else shown as what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from web3 import Web3

from openledger_site.core.money import format_open
from rewards.chain.contracts import Addresses
from rewards.services.stakes import as_time

DAY_SECONDS = 86_400
PARTS = ("Contributors", "Builder", "Stakers", "Platform")


@dataclass(frozen=True)
class DecodedAction:
    """One call: `words` say what it does, `facts` are its arguments, `signature` its function.

    `is_known` is False for a call this site does not know; then only the raw data can be judged.
    """

    target: str
    target_name: str
    signature: str
    words: str
    facts: tuple[tuple[str, str], ...]
    value_wei: int
    data: str
    is_known: bool


def percent(bps: int) -> str:
    """Basis points as a percentage without idle zeros: 500 → "5 %"."""
    return f"{bps / 100:.2f}".rstrip("0").rstrip(".") + " %"


def duration(seconds: int) -> str:
    """Seconds in the largest whole unit: 604800 → "7 days"."""
    for unit, size in (("day", DAY_SECONDS), ("hour", 3600), ("minute", 60)):
        if seconds and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _split(given: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    facts = [(name, percent(bps)) for name, bps in zip(PARTS, given, strict=True)]
    return "Split fees: " + ", ".join(f"{name} {share}" for name, share in facts) + ".", facts


def _holding(given: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    return f"Hold earnings back for {duration(given[0])}.", [("Holding time", duration(given[0]))]


def _cap(given: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    share = percent(given[0])
    return f"Let one slash take at most {share} of a stake.", [("Slashing cap", share)]


def _curator(given: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    datanet, account = str(UUID(bytes=given[0])), to_checksum_address(given[1])
    verb = "Appoint" if given[2] else "End the appointment of"
    return f"{verb} a curator of a public Datanet.", [("Datanet", datanet), ("Wallet", account)]


def _transfer(given: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    amount = format_open(given[1], digits=18)
    facts = [("To", to_checksum_address(given[0])), ("OPEN", amount)]
    return f"Send {amount} OPEN from the treasury.", facts


def _approve(given: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    amount = format_open(given[1], digits=18)
    facts = [("To", to_checksum_address(given[0])), ("OPEN", amount)]
    return f"Let a contract take {amount} OPEN from the treasury.", facts


def _grant(given: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    _, beneficiary, amount_wei, start, cliff_seconds, seconds = given
    amount = format_open(amount_wei, digits=18)
    facts = [
        ("For", to_checksum_address(beneficiary)),
        ("OPEN", amount),
        ("Begins", f"{as_time(max(start, 1)):%-d %b %Y, %H:%M} UTC"),
        ("First unlock after", duration(cliff_seconds)),
        ("All of it after", duration(seconds)),
    ]
    return f"Grant {amount} OPEN that unlock over {duration(seconds)}, for good.", facts


Words = Callable[[tuple[Any, ...]], tuple[str, list[tuple[str, str]]]]
_KNOWN: dict[tuple[str, str], Words] = {
    ("parameters", "setFeeSplit(uint16,uint16,uint16,uint16)"): _split,
    ("parameters", "setHoldingSeconds(uint32)"): _holding,
    ("parameters", "setSlashingCap(uint16)"): _cap,
    ("parameters", "decideCurator(bytes16,address,bool)"): _curator,
    ("token", "transfer(address,uint256)"): _transfer,
    ("token", "approve(address,uint256)"): _approve,
    ("vesting", "grant(bytes32,address,uint256,uint64,uint64,uint64)"): _grant,
}
_NAMES = {"parameters": "ProtocolParameters", "token": "OPEN token", "vesting": "OpenVesting"}
UNKNOWN = "A call that this site does not know. Vote for it only if you can read it."


def decode_action(action: dict[str, str], addresses: Addresses) -> DecodedAction:
    """One action of a proposal, as stored (`target`, `value_wei`, `data`)."""
    target, data = action["target"], bytes.fromhex(action["data"][2:])
    value_wei = int(action["value_wei"])
    for (contract, signature), in_words in _KNOWN.items():
        is_ours = target.lower() == getattr(addresses, contract).lower()
        if not is_ours or value_wei or data[:4] != bytes(Web3.keccak(text=signature)[:4]):
            continue
        types = signature[signature.index("(") + 1 : -1].split(",")
        try:
            words, facts = in_words(decode(types, data[4:]))
        except DecodingError:
            break
        name = _NAMES[contract]
        return DecodedAction(
            target, name, signature, words, tuple(facts), value_wei, action["data"], True
        )
    return DecodedAction(target, "", "", UNKNOWN, (), value_wei, action["data"], False)
