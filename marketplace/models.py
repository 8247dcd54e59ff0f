"""Paid answers, their receipts, who had a part in them, and disputes about that."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.urls import reverse

from marketplace.agent_models import Agent, AgentVersion
from marketplace.maker_part import fee_within, with_maker_part
from marketplace.takedown_models import AgentTakedown, AgentTakenDown
from openledger_site.core.models import Job
from openledger_site.core.money import WeiField

if TYPE_CHECKING:
    from modelfactory.models import Model

__all__ = [
    "COMPLETION_PREFIX",
    "Agent",
    "AgentTakedown",
    "AgentTakenDown",
    "AgentVersion",
    "AnswerShare",
    "Dispute",
    "Inference",
    "Receipt",
    "SpendingCap",
]
COMPLETION_PREFIX = "chatcmpl"


class Inference(models.Model):
    """One paid answer: reserved → answered → settled, or failed with nothing charged.

    The text belongs to the consumer: they and the engine read it, nobody else.
    """

    class State(models.TextChoices):
        ANSWERING = "answering", "being answered"
        ANSWERED = "answered", "attribution pending"
        SETTLED = "settled"
        FAILED = "failed"

    ENDED = (State.SETTLED, State.FAILED)

    class Channel(models.TextChoices):
        CHAT = "chat"
        API = "api", "API"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    consumer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="inferences"
    )
    model = models.ForeignKey(
        "modelfactory.Model", on_delete=models.PROTECT, related_name="inferences"
    )
    agent_version = models.ForeignKey(
        AgentVersion, null=True, on_delete=models.PROTECT, related_name="inferences",
        help_text="The agent that was asked, as it was then; none when the model was.",
    )  # fmt: skip
    api_key = models.ForeignKey(
        "accounts.ApiKey", null=True, on_delete=models.SET_NULL, related_name="inferences"
    )
    channel = models.CharField(max_length=4, choices=Channel)
    idempotency_key = models.CharField(max_length=255, blank=True)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of what was asked.")
    state = models.CharField(max_length=9, choices=State, default=State.ANSWERING)
    # What was asked and answered.
    messages = models.JSONField(help_text="As the consumer sent them.")
    sampling = models.JSONField(default=dict)
    passages = models.JSONField(
        default=list, help_text="Records handed to the model: ids and hashes, never text."
    )
    answer = models.TextField(blank=True)
    prompt_ids = models.JSONField(default=list)
    response_ids = models.JSONField(default=list)
    finish_reason = models.CharField(max_length=10, blank=True)
    # What it cost.
    adapter_digest = models.CharField(max_length=64)
    hold = models.OneToOneField("rewards.Hold", on_delete=models.PROTECT, related_name="inference")
    payment = models.ForeignKey(
        "rewards.SignedPayment", null=True, on_delete=models.PROTECT, related_name="answers",
        help_text="The signature that paid for it, of an agent without an account (x402).",
    )  # fmt: skip
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    fee_wei = WeiField(default=0)
    job = models.ForeignKey("core.Job", null=True, on_delete=models.SET_NULL, related_name="+")
    error_code = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    erased_at = models.DateTimeField(
        null=True, help_text="When its consumer had what was asked and answered erased."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "idempotency_key"],
                condition=~models.Q(idempotency_key=""),
                name="inference_once_per_idempotency_key",
            ),
            models.UniqueConstraint(
                fields=["payment"],
                condition=~models.Q(state="failed"),
                name="inference_once_per_payment",
            ),
            models.CheckConstraint(
                condition=models.Q(fee_wei__gte=0), name="inference_fee_is_not_negative"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="settled") | models.Q(settled_at__isnull=False),
                name="inference_settled_has_a_time",
            ),
            models.CheckConstraint(
                condition=models.Q(erased_at__isnull=True)
                | models.Q(
                    messages=[],
                    answer="",
                    prompt_ids=[],
                    response_ids=[],
                    fingerprint="",
                    state__in=["settled", "failed"],
                ),
                name="inference_erased_has_no_text",
            ),
        ]
        indexes = [
            models.Index(fields=["consumer", "-id"], name="inference_of_consumer"),
            models.Index(fields=["model", "-id"], name="inference_of_model"),
            models.Index(fields=["consumer", "created_at"], name="inference_spending"),
            models.Index(
                fields=["created_at"],
                condition=models.Q(state="answering"),
                name="inference_unfinished",
            ),
            models.Index(
                fields=["created_at"],
                condition=models.Q(state="answered"),
                name="inference_unsettled",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="inference_agent_is_before_its_model",
                operation=pgtrigger.Insert | pgtrigger.Update,
                when=pgtrigger.Before,
                condition=pgtrigger.Q(new__agent_version__isnull=False),
                func="""
                    IF NOT EXISTS (
                        SELECT 1 FROM marketplace_agentversion version
                          JOIN marketplace_agent agent ON agent.id = version.agent_id
                         WHERE version.id = NEW.agent_version_id
                           AND agent.model_id = NEW.model_id) THEN
                        RAISE EXCEPTION 'the agent is of another model' USING ERRCODE = '23514';
                    END IF;
                    RETURN NEW;
                """,
            )
        ]

    def __str__(self) -> str:
        return f"answer {self.public_id} ({self.state})"

    @property
    def question(self) -> str:
        """What the person asked last."""
        asked = [message["content"] for message in self.messages if message["role"] == "user"]
        return asked[-1] if asked else ""

    @property
    def read_messages(self) -> list[dict[str, str]]:
        """What the model reads besides passages: an agent's instructions, then the messages."""
        return self.agent_version.before(self.messages) if self.agent_version else self.messages

    @property
    def asked(self) -> Agent | Model:
        """The agent, or the model where none stands before it."""
        return self.agent_version.agent if self.agent_version else self.model

    @property
    def asked_name(self) -> str:
        """What programs send as `model`."""
        return self.agent_version.agent.api_name if self.agent_version else self.model.slug

    @property
    def asked_title(self) -> str:
        """What people call it."""
        return self.agent_version.agent.name if self.agent_version else self.model.name

    @property
    def maker_ppm(self) -> int:
        """What the agent's maker asked on top when it was asked; 0 where a model was."""
        return self.agent_version.maker_ppm if self.agent_version else 0

    def paid_for(self, fee_wei: int) -> int:
        """What is paid where the model's own fee is `fee_wei`."""
        return with_maker_part(fee_wei, self.maker_ppm)

    @property
    def maker_wei(self) -> int:
        """The maker's part of `fee_wei`."""
        paid = int(self.fee_wei)
        return paid - fee_within(paid, self.maker_ppm)

    @property
    def chat_url(self) -> str:
        kind = "agent-chat" if self.agent_version else "chat"
        return reverse(f"marketplace:{kind}", args=[self.asked.slug])

    @property
    def completion_id(self) -> str:
        """What programs know it by, as OpenAI's ids look."""
        return f"{COMPLETION_PREFIX}-{self.public_id.hex}"

    @property
    def erased(self) -> bool:
        return self.erased_at is not None

    @property
    def settled(self) -> bool:
        return self.state == self.State.SETTLED

    @property
    def ended(self) -> bool:
        return self.state in self.ENDED


class Receipt(models.Model):
    """The signed statement of one answer: anyone who holds it can replay it.

    It never changes, but for what spells out question and answer, which its consumer may have
    erased: digest and signature stay those of the whole, and so does every amount.
    """

    inference = models.OneToOneField(Inference, on_delete=models.PROTECT, related_name="receipt")
    body = models.JSONField()
    digest = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 of the canonical body."
    )
    signature = models.CharField(max_length=128, help_text="Ed25519 over the digest, hex.")
    issued_at = models.DateTimeField(db_default=Now())

    class Meta:
        triggers = [
            pgtrigger.Protect(name="receipt_is_kept", operation=pgtrigger.Delete),
            pgtrigger.Trigger(
                name="receipt_is_final",
                operation=pgtrigger.Update,
                when=pgtrigger.Before,
                func="""
                    IF OLD.body ? 'erased_at' OR NOT NEW.body ? 'erased_at'
                       OR (OLD.inference_id, OLD.digest, OLD.signature, OLD.issued_at)
                          IS DISTINCT FROM
                          (NEW.inference_id, NEW.digest, NEW.signature, NEW.issued_at)
                       OR OLD.body - '{evidence,answer_sha256}'::text[] IS DISTINCT FROM
                          NEW.body - '{evidence,answer_sha256,erased_at}'::text[]
                       OR ((OLD.body -> 'evidence') #- '{influence,attribution}') - 'verbatim'
                          IS DISTINCT FROM
                          ((NEW.body -> 'evidence') #- '{influence,attribution}') - 'verbatim'
                    THEN
                        RAISE EXCEPTION 'a receipt is final' USING ERRCODE = '23514';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"receipt {self.digest[:12]}"


class AnswerShare(models.Model):
    """One contributor's part in one answer, as its receipt says it, so that a list is one query.

    Everybody whose rows were listed has one, with no parts when none stood out from noise.
    """

    inference = models.ForeignKey(Inference, on_delete=models.PROTECT, related_name="shares")
    contributor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="answer_shares"
    )
    parts = models.PositiveBigIntegerField(help_text="Of one billion, of the contributors' part.")
    amount_wei = WeiField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["inference", "contributor"], name="answer_share_once_per_contributor"
            ),
            models.CheckConstraint(
                condition=models.Q(parts__lte=1_000_000_000),
                name="answer_share_is_at_most_the_whole",
            ),
            models.CheckConstraint(
                condition=models.Q(amount_wei=0) | models.Q(amount_wei__gt=0, parts__gt=0),
                name="answer_share_pays_only_for_parts",
            ),
        ]
        indexes = [models.Index(fields=["contributor", "-inference"], name="answer_share_newest")]
        triggers = [
            pgtrigger.Protect(
                name="answer_share_is_final", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]

    def __str__(self) -> str:
        return f"{self.parts} parts of answer {self.inference_id} to {self.contributor_id}"

    @property
    def percent(self) -> float:
        return self.parts / 10_000_000


class SpendingCap(models.Model):
    """The most that a person or one of their API keys spends on answers in a day or a month (UTC).

    What is held for an answer under way counts as spent. An alert is mailed once a month.
    """

    consumer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="spending_caps"
    )
    api_key = models.OneToOneField(
        "accounts.ApiKey",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="spending_cap",
        help_text="Empty: of everything the person asks.",
    )
    day_wei = WeiField(null=True, blank=True)
    month_wei = WeiField(null=True, blank=True)
    alert_percent = models.PositiveSmallIntegerField(default=80)
    alerted_month = models.DateField(null=True, blank=True, help_text="The last one with an alert.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["consumer"],
                condition=models.Q(api_key__isnull=True),
                name="spending_cap_once_per_person",
            ),
            models.CheckConstraint(
                condition=(models.Q(day_wei__isnull=True) | models.Q(day_wei__gte=0))
                & (models.Q(month_wei__isnull=True) | models.Q(month_wei__gte=0)),
                name="spending_cap_is_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(alert_percent__range=(1, 100)),
                name="spending_alert_is_a_percentage",
            ),
        ]

    def __str__(self) -> str:
        return f"spending cap of {self.consumer_id}"


class Dispute(models.Model):
    """A contributor's doubt about the attribution of one answer, and what retraining found.

    It moves no money. What is doubted never changes and the finding is written once: the database
    refuses both.
    """

    class State(models.TextChoices):
        OPEN = "open"
        AUDITING = "auditing"
        DECIDED = "decided"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    inference = models.ForeignKey(Inference, on_delete=models.PROTECT, related_name="disputes")
    raised_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="disputes"
    )
    records = models.JSONField(help_text="Public ids of the raiser's own rows in question.")
    reason = models.TextField()
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    finding = models.JSONField(null=True, help_text="What the audit measured; null until decided.")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["inference", "raised_by"],
                condition=models.Q(state__in=["open", "auditing"]),
                name="dispute_open_once_per_person_and_answer",
            ),
            models.CheckConstraint(
                condition=models.Q(state="decided", finding__isnull=False, decided_at__isnull=False)
                | (
                    ~models.Q(state="decided")
                    & models.Q(finding__isnull=True, decided_at__isnull=True)
                ),
                name="dispute_decided_has_a_finding",
            ),
        ]
        indexes = [models.Index(fields=["raised_by", "-created_at"], name="dispute_by_person")]
        triggers = [
            pgtrigger.Protect(name="dispute_is_kept", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="dispute_question_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("inference", "raised_by", "records", "reason"),
            ),
            pgtrigger.Protect(
                name="dispute_is_decided_once",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__state="decided")
                & (
                    pgtrigger.Q(new__state__df="decided")
                    | pgtrigger.Q(old__finding__df=pgtrigger.F("new__finding"))
                    | pgtrigger.Q(old__decided_at__df=pgtrigger.F("new__decided_at"))
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"dispute {self.public_id} ({self.state})"

    def get_absolute_url(self) -> str:
        return reverse("marketplace:dispute", args=[self.public_id])

    @property
    def decided(self) -> bool:
        return self.state == self.State.DECIDED

    @property
    def stranded(self) -> bool:
        """Its audit ended without a finding: failed or stopped. It can be started again."""
        return not self.decided and (self.job is None or self.job.ended)
