"""Tokens of Datanets and models (ERC-721, ERC-2981): their calls, events and deployment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewards.chain.calls import ContractCall, create_call, encode_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, create_with_role
from rewards.chain.logs import address_in
from rewards.chain.records import LogPlace
from rewards.chain.transactions import Signer

TRANSFER = "Transfer(address,address,uint256)"


@dataclass(frozen=True)
class TokenTransfer:
    """A token went from one address to another; from the zero address when it was made."""

    token_id: str
    sender: str
    receiver: str
    place: LogPlace


def register_asset_call(
    assets: str, to: str, token_id: bytes, metadata_digest: bytes, royalty_bps: int
) -> ContractCall:
    """Makes the token of a thing, once; by a registrar."""
    return encode_call(
        assets,
        "register(address,uint256,bytes32,uint96)",
        to,
        int.from_bytes(token_id, "big"),
        metadata_digest,
        royalty_bps,
    )


def transfer_asset_call(assets: str, sender: str, receiver: str, token_id: bytes) -> ContractCall:
    """Gives a token away; by its owner."""
    number = int.from_bytes(token_id, "big")
    return encode_call(assets, "transferFrom(address,address,uint256)", sender, receiver, number)


def token_transfers(client: ChainClient, assets: str, first: int, last: int) -> list[TokenTransfer]:
    """All of both-inclusive blocks, in chain order."""
    return [
        TokenTransfer(log["topics"][3], address_in(log, 1), address_in(log, 2), place)
        for log, place in client.logs(assets, TRANSFER, first, last)
    ]


def deploy_assets(
    client: ChainClient,
    signer: Signer,
    addresses: Addresses,
    *,
    registrar: str,
    admin_delay_seconds: int,
    uri: str,
) -> Addresses:
    """Deploys the contract; answers the addresses with its own filled in. Ids follow `uri`."""
    arguments = [signer.address, admin_delay_seconds, uri]
    create = create_call("OpenAssets", ["address", "uint48", "string"], arguments)
    assets = create_with_role(client, signer, create, "REGISTRAR_ROLE", registrar)
    return replace(addresses, assets=assets)
