"""Tokens of Datanets, models and agents: asked for by the owner, made by us, followed on chain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db import transaction
from eth_utils.crypto import keccak

from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError
from rewards.chain.assets import TokenTransfer, token_transfers
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses
from rewards.models import Asset, AssetTransfer, ChainTransaction
from rewards.models.assets import ROYALTY_MAX_BPS
from rewards.selectors.assets import transfers_of
from rewards.selectors.money import wallet_addresses_of
from rewards.selectors.subjects import StakeSubject
from rewards.services.chain import ContractsMissing, contract_addresses
from rewards.services.chain_events import keep_event, void_left
from rewards.services.sender import on_chain_id, queue_transaction

KINDS = {"agent": "An agent", "datanet": "A Datanet", "model": "A model"}
MOVES = {
    "model": "Whoever holds this token is paid its owner's part of later fees; nothing else moves"
    " with it.",
    "agent": "Whoever holds this token is paid what its maker asks on top of its model's price;"
    " nothing else moves with it.",
}
MOVES_NOTHING = "Fees have no part of its owner, so nothing but the token itself moves with it yet."


class AssetExists(Conflict):
    code = "asset_exists"
    message = "This has its token already."


def register_asset(*, subject: StakeSubject, maker: User, address: str, royalty_bps: int) -> Asset:
    """Ask for the token of a thing. `maker` owns it: the caller knows.

    Raises `DomainError` for a wallet that is not the maker's or too high a royalty, `AssetExists`,
    and `ContractsMissing` where there is no such contract. One that the chain refused is sent again
    as it was: an earlier try may have got through, and its digest stands on chain for good.
    """
    if address not in wallet_addresses_of(maker):
        raise DomainError("Choose a wallet that is linked to your account.", where="address")
    if not 0 <= royalty_bps <= ROYALTY_MAX_BPS:
        raise DomainError("A royalty is between 0 and 10 per cent.", where="royalty")
    if not contract_addresses().assets:
        raise ContractsMissing("Assets are not deployed on this chain.")
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=maker.pk)  # two requests stand in line
        asset = Asset.objects.filter(chain_id=settings.CHAIN_ID, subject=subject.subject).first()
        if asset is None:
            asset = _described(subject, maker, address, royalty_bps)
        elif asset.holder or asset.chain_transaction.state != ChainTransaction.State.FAILED:
            raise AssetExists()
        asset.chain_transaction = queue_transaction(
            "asset",
            subject=asset.subject,
            to=asset.maker_address,
            token_id=asset.token_id,
            metadata_digest=asset.metadata_digest,
            royalty_bps=asset.royalty_bps,
        )
        asset.save()
        record_audit("asset.register", actor=maker, subject=subject.subject)
    return asset


def _described(subject: StakeSubject, maker: User, address: str, royalty_bps: int) -> Asset:
    metadata = _metadata(subject)
    return Asset(
        chain_id=settings.CHAIN_ID,
        subject=subject.subject,
        token_id="0x" + on_chain_id(subject.subject).hex(),
        metadata=metadata,
        metadata_digest="0x" + bytes(keccak(text=metadata)).hex(),
        royalty_bps=royalty_bps,
        maker=maker,
        maker_address=address,
    )


def _metadata(subject: StakeSubject) -> str:
    """JSON after ERC-721's metadata schema; these bytes are kept, hashed and served."""
    document = {
        "name": subject.title,
        "description": f"{KINDS.get(subject.kind, 'A thing')} of OpenLedger."
        f" {MOVES.get(subject.kind, MOVES_NOTHING)}",
        "external_url": settings.SITE_URL + subject.url,
        "properties": {"kind": subject.kind, "id": subject.public_id},
    }
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def asset_events(
    client: ChainClient, addresses: Addresses, first: int, last: int
) -> Sequence[TokenTransfer]:
    """Read both-inclusive blocks."""
    if not addresses.assets:
        return []
    return token_transfers(client, addresses.assets, first, last)


def book_assets(events: Iterable[TokenTransfer], addresses: Addresses) -> None:
    """Book what is new; the caller holds a transaction open."""
    for event in events:
        keep_event(
            AssetTransfer,
            event.place,
            addresses.chain_id,
            standing=AssetTransfer.State.STANDING,
            token_id=event.token_id,
            sender=event.sender,
            receiver=event.receiver,
        )
        _follow(addresses.chain_id, event.token_id)


def void_assets(client: ChainClient, chain_id: int) -> list[int]:
    """Void what stands in blocks that left the chain; return the block of each row."""
    return void_left(client, AssetTransfer, chain_id, _void)


def _void(row: AssetTransfer) -> None:
    row.state = AssetTransfer.State.VOIDED
    row.save(update_fields=["state"])
    _follow(row.chain_id, row.token_id)


def _follow(chain_id: int, token_id: str) -> None:
    """The newest standing transfer says whose the token is."""
    asset = Asset.objects.filter(chain_id=chain_id, token_id=token_id).first()
    if asset is not None:
        newest = transfers_of(asset).first()
        asset.holder = newest.receiver if newest else ""
        asset.save(update_fields=["holder"])
