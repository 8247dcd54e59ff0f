"""What stands in a log as a node gives it: its data, and addresses among its topics."""

from __future__ import annotations

from typing import Any

from eth_utils.address import to_checksum_address


def data_of(log: dict[str, Any]) -> bytes:
    """The arguments that are not indexed, as the ABI encodes them."""
    return bytes.fromhex(log["data"][2:])


def address_in(log: dict[str, Any], topic: int) -> str:
    """The address in a topic; topic 0 is the event itself."""
    return str(to_checksum_address("0x" + log["topics"][topic][-40:]))


def as_topic(address: str) -> str:
    """An address as a node looks for it."""
    return "0x" + address[2:].lower().rjust(64, "0")
