"""Grants of OPEN that unlock over time, as the chain says them."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import models
from django.db.models import F, Q

from openledger_site.core.money import WeiField
from rewards.models.chain import ChainPlace, once_per_place
from rewards.models.triggers import never_deleted
from rewards.vesting import Schedule


class VestingGrant(ChainPlace):
    """A grant that OpenVesting made. Written once its block is final, voided when it is gone.

    Times are the chain's: whole seconds, `start` since 1970. The last five fields are read from the
    grant's own wallet after each event of it.
    """

    class State(models.TextChoices):
        STANDING = "standing"
        VOIDED = "voided"

    grant_id = models.CharField(max_length=66)
    beneficiary = models.CharField(max_length=42, help_text="Its first owner.")
    wallet = models.CharField(max_length=42, help_text="The contract that holds it.")
    amount_wei = WeiField()
    start = models.BigIntegerField()
    cliff_seconds = models.BigIntegerField()
    duration_seconds = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State, default=State.STANDING)
    owner = models.CharField(max_length=42, help_text="Whom a release pays now.")
    allocation_wei = WeiField(help_text="All that the wallet ever held, gifts too.")
    released_wei = WeiField(default=0)
    is_stale = models.BooleanField(default=True)
    read_block = models.BigIntegerField(null=True)

    class Meta:
        triggers = [never_deleted("vesting_grant_is_kept")]
        constraints = [
            *once_per_place("vesting_grant"),
            models.UniqueConstraint(
                fields=["chain_id", "wallet"],
                condition=~Q(state="voided"),
                name="vesting_grant_once_per_wallet",
            ),
            models.CheckConstraint(
                condition=Q(duration_seconds__gt=0, cliff_seconds__gte=0)
                & Q(cliff_seconds__lte=F("duration_seconds")),
                name="vesting_grant_cliff_is_inside",
            ),
            models.CheckConstraint(
                condition=Q(released_wei__gte=0) & Q(released_wei__lte=F("allocation_wei")),
                name="vesting_grant_releases_what_it_holds",
            ),
        ]
        indexes = [models.Index(fields=["owner"], name="vesting_grant_by_owner")]

    def __str__(self) -> str:
        return f"{self.amount_wei} wei for {self.beneficiary} ({self.state})"

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.start, self.cliff_seconds, self.duration_seconds)

    @property
    def starts_at(self) -> datetime:
        return datetime.fromtimestamp(self.start, tz=UTC)

    @property
    def cliff_at(self) -> datetime:
        return datetime.fromtimestamp(self.schedule.cliff, tz=UTC)

    @property
    def ends_at(self) -> datetime:
        return datetime.fromtimestamp(self.schedule.end, tz=UTC)


class VestingEvent(ChainPlace):
    """Something that happened to a grant's wallet in a final block; voided with its block."""

    class Kind(models.TextChoices):
        RECEIVED = "received", "OPEN came in"
        RELEASED = "released", "Released"
        HANDED_OVER = "handed_over", "Handed over"

    class State(models.TextChoices):
        STANDING = "standing"
        VOIDED = "voided"

    kind = models.CharField(max_length=11, choices=Kind)
    wallet = models.CharField(max_length=42)
    account = models.CharField(max_length=42, blank=True, help_text="Who paid in, or new owner.")
    amount_wei = WeiField()
    state = models.CharField(max_length=8, choices=State, default=State.STANDING)

    class Meta:
        triggers = [never_deleted("vesting_event_is_kept")]
        constraints = once_per_place("vesting_event")
        indexes = [models.Index(fields=["wallet", "-block_number"], name="vesting_events")]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount_wei} wei at {self.wallet} ({self.state})"
