"""What of an account its owner may reach."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from openledger_site.accounts.models import ApiKey, User, Wallet


def wallets_of(user: User) -> QuerySet[Wallet]:
    return Wallet.objects.filter(user=user, unlinked_at__isnull=True).order_by("linked_at", "pk")


def wallets_here(user: User) -> QuerySet[Wallet]:
    """Those on the chain that this site serves, the one linked first before others."""
    return wallets_of(user).filter(chain_id=settings.CHAIN_ID)


def linked_wallet(user: User, address: str) -> Wallet | None:
    """The person's wallet of that address, in whatever case it is written."""
    return wallets_here(user).filter(address__iexact=address).first()


def wallet_for(user: User, wallet_id: int) -> Wallet:
    return get_object_or_404(wallets_of(user), pk=wallet_id)


def api_keys_of(user: User) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(user=user).order_by("revoked_at", "-created_at")


def api_key_for(user: User, public_id: UUID) -> ApiKey:
    return get_object_or_404(ApiKey, user=user, public_id=public_id)
