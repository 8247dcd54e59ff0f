"""Tokens of things: what stands on chain, and who is paid as the owner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404

from openledger_site.accounts.models import User, Wallet
from rewards.models import Asset, AssetTransfer
from rewards.selectors.subjects import visible_subjects


def asset_of(subject: str) -> Asset | None:
    """The token of a thing, asked for or made. Whoever may see the thing may see its token."""
    assets = Asset.objects.filter(chain_id=settings.CHAIN_ID, subject=subject)
    return assets.select_related("chain_transaction", "maker").first()


def transfers_of(asset: Asset) -> QuerySet[AssetTransfer]:
    """Where the token went, newest first."""
    standing = AssetTransfer.objects.filter(
        chain_id=asset.chain_id, token_id=asset.token_id, state=AssetTransfer.State.STANDING
    )
    return standing.order_by("-block_number", "-log_index")


def income_owner(subject: str, default: User) -> User:
    """Who gets the owner's part of a fee now.

    The person whose linked wallet holds the token. While the holder's wallet is linked to nobody,
    the last one before whose wallet is; without a token, or if there is no such person, `default`.
    """
    asset = Asset.objects.filter(chain_id=settings.CHAIN_ID, subject=subject).first()
    if asset is None or not asset.holder:
        return default
    holders = list(transfers_of(asset).values_list("receiver", flat=True))
    linked = people_of(holders)
    return next((linked[address] for address in holders if address in linked), default)


def people_of(addresses: Iterable[str]) -> dict[str, User]:
    """Whose wallet each address is, for those that are linked."""
    wallets = Wallet.objects.filter(
        address__in=set(addresses),
        chain_id=settings.CHAIN_ID,
        unlinked_at__isnull=True,
        user__is_active=True,
    )
    return {wallet.address: wallet.user for wallet in wallets.select_related("user")}


def metadata_for(user: Any, number: str) -> Asset:
    """The asset with this decimal token id; 404 unless the thing itself may be seen."""
    asset = None
    if number.isascii() and number.isdecimal() and len(number) <= 78 and int(number) < 2**256:
        token_id = f"0x{int(number):064x}"
        asset = Asset.objects.filter(chain_id=settings.CHAIN_ID, token_id=token_id).first()
    if asset is None or not visible_subjects(user, [asset.subject]):
        raise Http404("No such token.")
    return asset
