"""What votes decided and where votes stand, as the chain says it."""

from __future__ import annotations

import uuid

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from openledger_site.core.money import WeiField
from rewards.models.chain import PLACE, ChainPlace, once_per_place
from rewards.models.triggers import never_deleted

WHOLE_BPS = 10_000


class ParameterChange(ChainPlace):
    """A new version of the governed numbers. Written once its block is final, by the watcher."""

    class State(models.TextChoices):
        COUNTED = "counted"
        VOIDED = "voided"

    contract = models.CharField(max_length=42)
    version = models.PositiveBigIntegerField(help_text="The contract's own number.")
    from_epoch = models.PositiveBigIntegerField(help_text="In force from no epoch before this.")
    contributors_bps = models.PositiveIntegerField()
    builder_bps = models.PositiveIntegerField()
    stakers_bps = models.PositiveIntegerField()
    platform_bps = models.PositiveIntegerField()
    holding_seconds = models.PositiveIntegerField()
    slashing_cap_bps = models.PositiveIntegerField()
    state = models.CharField(max_length=7, choices=State, default=State.COUNTED)

    class Meta:
        triggers = [never_deleted("parameter_change_is_kept")]
        constraints = [
            *once_per_place("parameter_change"),
            models.CheckConstraint(
                condition=Q(
                    contributors_bps=WHOLE_BPS
                    - F("builder_bps")
                    - F("stakers_bps")
                    - F("platform_bps")
                ),
                name="parameter_change_splits_a_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"parameters {self.version} ({self.state})"


class Proposal(ChainPlace):
    """A proposal as it was made, and where it stood when the chain was last read."""

    class State(models.TextChoices):
        PENDING = "pending"
        ACTIVE = "active"
        CANCELED = "canceled"
        DEFEATED = "defeated"
        SUCCEEDED = "succeeded"
        QUEUED = "queued"
        EXPIRED = "expired"
        EXECUTED = "executed"
        VOIDED = "voided"  # its block left the chain

    ENDED = (State.CANCELED, State.DEFEATED, State.EXPIRED, State.EXECUTED)

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    governor = models.CharField(max_length=42)
    proposal_id = models.CharField(max_length=78, help_text="The governor's number, in decimal.")
    proposer = models.CharField(max_length=42)
    actions = models.JSONField(help_text="Each has target, value_wei and data, as on chain.")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    description_hash = models.CharField(max_length=66)
    vote_start = models.DateTimeField()
    vote_end = models.DateTimeField()

    state = models.CharField(max_length=9, choices=State, default=State.PENDING)
    state_since = models.DateTimeField(db_default=Now(), help_text="When it was first read.")
    for_wei = WeiField(default=0)
    against_wei = WeiField(default=0)
    abstain_wei = WeiField(default=0)
    quorum_wei = WeiField(default=0, help_text="0 before the vote begins.")
    executable_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    read_block = models.BigIntegerField(null=True)
    is_settled = models.BooleanField(
        default=False, help_text="Ended in a final block: not read again."
    )

    class Meta:
        triggers = [
            never_deleted("proposal_is_kept"),
            pgtrigger.Trigger(
                name="proposal_keeps_its_words",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                func="""
                    IF (NEW.proposal_id, NEW.proposer, NEW.actions, NEW.description_hash,
                        NEW.description, NEW.vote_start, NEW.vote_end)
                       IS DISTINCT FROM (OLD.proposal_id, OLD.proposer, OLD.actions,
                        OLD.description_hash, OLD.description, OLD.vote_start, OLD.vote_end) THEN
                        RAISE EXCEPTION 'a proposal keeps its words' USING ERRCODE = '23514';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=[*PLACE, "block_hash"], name="proposal_once_per_block"),
            models.UniqueConstraint(
                fields=["chain_id", "governor", "proposal_id"],
                condition=~Q(state="voided"),
                name="proposal_stands_once",
            ),
        ]
        indexes = [models.Index(fields=["-vote_start"], name="proposal_newest")]

    def __str__(self) -> str:
        return f"{self.title} ({self.state})"

    @property
    def reason(self) -> str:
        """The text without its heading and the mark of who alone may propose it."""
        text = self.description.split("\n#proposer=")[0]
        heading, _, rest = text.partition("\n")
        return rest.strip() if heading.startswith("#") else text

    @property
    def votes_wei(self) -> int:
        """All votes cast."""
        return int(self.for_wei + self.against_wei + self.abstain_wei)

    @property
    def quorum_votes_wei(self) -> int:
        """Votes that count towards the quorum: for and abstain (GovernorCountingSimple)."""
        return int(self.for_wei + self.abstain_wei)

    @property
    def targets(self) -> list[str]:
        return [action["target"] for action in self.actions]

    @property
    def values(self) -> list[str]:
        return [action["value_wei"] for action in self.actions]

    @property
    def calldatas(self) -> list[str]:
        return [action["data"] for action in self.actions]


class CuratorDecision(ChainPlace):
    """A vote on who curates a public Datanet; the app that has Datanets carries it out."""

    class State(models.TextChoices):
        WAITING = "waiting", "waits to be carried out"
        DONE = "done", "carried out"
        REFUSED = "refused", "could not be carried out"
        VOIDED = "voided", "its block left the chain"

    datanet = models.UUIDField()
    account = models.CharField(max_length=42)
    is_curator = models.BooleanField()
    state = models.CharField(max_length=7, choices=State, default=State.WAITING)
    outcome = models.CharField(max_length=200, blank=True)

    class Meta:
        triggers = [never_deleted("curator_decision_is_kept")]
        constraints = once_per_place("curator_decision")

    def __str__(self) -> str:
        return f"{self.account} of {self.datanet}: {self.is_curator}"


class GovernanceReading(models.Model):
    """The rules of votes and the treasury, as last read; one row a chain."""

    chain_id = models.BigIntegerField(primary_key=True)
    governor = models.CharField(max_length=42, blank=True)
    voting_delay_seconds = models.BigIntegerField(default=0)
    voting_period_seconds = models.BigIntegerField(default=0)
    timelock_delay_seconds = models.BigIntegerField(default=0)
    proposal_threshold_wei = WeiField(default=0)
    quorum_wei = WeiField(default=0)
    quorum_floor_wei = WeiField(default=0)
    treasury_wei = WeiField(default=0)
    supply_wei = WeiField(default=0)
    read_block = models.BigIntegerField(null=True)
    read_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True, help_text="Why the last try failed.")

    def __str__(self) -> str:
        return f"chain {self.chain_id} read at {self.read_at}"


class VotingPower(models.Model):
    """What a linked wallet holds and how many votes it casts, as last read."""

    chain_id = models.BigIntegerField()
    address = models.CharField(max_length=42)
    balance_wei = WeiField(default=0)
    votes_wei = WeiField(default=0)
    delegate = models.CharField(max_length=42, blank=True, help_text="Empty: nobody votes with it.")
    read_block = models.BigIntegerField(default=0)
    read_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chain_id", "address"], name="voting_power_once")
        ]

    def __str__(self) -> str:
        return f"{self.votes_wei} votes of {self.address}"

    @property
    def is_delegated_to_itself(self) -> bool:
        return self.delegate.lower() == self.address.lower()
