"""Things with a token on chain, and whose it was when."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from rewards.models.chain import ChainPlace, ChainTransaction, once_per_place
from rewards.models.triggers import never_deleted

ROYALTY_MAX_BPS = 1_000


class Asset(models.Model):
    """A Datanet, a model or an agent (`subject` is `kind:id`) whose owner asked for a token.

    `metadata` are the very bytes whose keccak-256 is on chain. `holder` is empty until the token's
    making is final; after that only final events move it.
    """

    chain_id = models.BigIntegerField()
    subject = models.CharField(max_length=120)
    token_id = models.CharField(max_length=66, help_text="Keccak-256 of the subject.")
    metadata = models.TextField()
    metadata_digest = models.CharField(max_length=66)
    royalty_bps = models.PositiveSmallIntegerField()
    maker = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="assets_made"
    )
    maker_address = models.CharField(max_length=42)
    holder = models.CharField(max_length=42, blank=True)
    chain_transaction = models.OneToOneField(
        ChainTransaction, on_delete=models.PROTECT, related_name="asset"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = [never_deleted("asset_is_kept")]
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "subject"], name="asset_once_per_subject"),
            models.UniqueConstraint(fields=["chain_id", "token_id"], name="asset_once_per_token"),
            models.CheckConstraint(
                condition=Q(royalty_bps__lte=ROYALTY_MAX_BPS), name="asset_royalty_is_modest"
            ),
        ]

    def __str__(self) -> str:
        return f"asset {self.subject}"

    @property
    def royalty_percent(self) -> str:
        return f"{self.royalty_bps / 100:g}"

    @property
    def number(self) -> int:
        """The token's id as wallets show it."""
        return int(self.token_id, 16)


class AssetTransfer(ChainPlace):
    """A token moved. Written once its block is final, voided when the block is gone."""

    class State(models.TextChoices):
        STANDING = "standing"
        VOIDED = "voided"

    token_id = models.CharField(max_length=66)
    sender = models.CharField(max_length=42)
    receiver = models.CharField(max_length=42)
    state = models.CharField(max_length=8, choices=State, default=State.STANDING)

    class Meta:
        triggers = [never_deleted("asset_transfer_is_kept")]
        constraints = once_per_place("asset_transfer")
        indexes = [models.Index(fields=["token_id", "-block_number"], name="asset_transfers")]

    def __str__(self) -> str:
        return f"{self.token_id} to {self.receiver} ({self.state})"
