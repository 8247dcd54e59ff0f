"""Agents: a model with instructions, tools, a budget and a policy, made by anybody without code."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence

import pgtrigger
from django.conf import settings
from django.core.validators import MinLengthValidator
from django.db import models
from django.db.models.functions import Now
from django.urls import reverse

from marketplace.maker_part import MAKER_PPM_MAX
from openledger_site.core.money import WeiField
from rewards.models.settlements import PARTS_PER_MILLION

INSTRUCTIONS_MAX = 1_500
"""Characters: about half of what the embedded base can read at once."""
TOKENS_MAX = 1_024


class Agent(models.Model):
    """What is asked by its name. Model, address and owner never change; the rest its owner edits.

    Who may not use the model may not use the agent, whatever its own visibility says. A retired
    agent answers nobody and keeps its page, because people may have staked on it.
    """

    class Visibility(models.TextChoices):
        PUBLIC = "public", "Everybody who may use its model"
        PRIVATE = "private", "Only me"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="agents"
    )
    model = models.ForeignKey("modelfactory.Model", on_delete=models.PROTECT, related_name="agents")
    slug = models.SlugField(max_length=60, unique=True, validators=[MinLengthValidator(3)])
    name = models.CharField(max_length=80)
    summary = models.CharField(max_length=200)
    opening = models.CharField(max_length=300, blank=True)
    visibility = models.CharField(max_length=7, choices=Visibility, default=Visibility.PUBLIC)
    shows_instructions = models.BooleanField(default=False)
    answer_cap_wei = WeiField(null=True, blank=True, help_text="The most that one answer costs.")
    caller_day_wei = WeiField(
        null=True, blank=True, help_text="The most that one person pays for it in a day (UTC)."
    )
    created_at = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True, blank=True)
    takedown = models.OneToOneField(
        "marketplace.AgentTakedown",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The one in force: the staff took it down.",
    )

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=(models.Q(answer_cap_wei__isnull=True) | models.Q(answer_cap_wei__gt=0))
                & (models.Q(caller_day_wei__isnull=True) | models.Q(caller_day_wei__gt=0)),
                name="agent_budgets_allow_something",
            )
        ]
        triggers = [
            pgtrigger.Protect(name="agent_is_kept", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="agent_identity_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("public_id", "owner", "model", "slug"),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("marketplace:agent", args=[self.slug])

    @property
    def api_name(self) -> str:
        """What programs send as `model`."""
        return f"agent/{self.slug}"

    @property
    def subject(self) -> str:
        """Its name as what can be staked on and owned."""
        return f"agent:{self.public_id}"

    def check_not_taken_down(self) -> None:
        """Raises `AgentTakenDown` with the reason."""
        if self.takedown is not None:
            raise self.takedown.refusal

    @property
    def newest(self) -> AgentVersion:
        """What it answers with now; it has one from the transaction that made it."""
        return self.versions.order_by("-number")[0]


class AgentVersion(models.Model):
    """What answers depend on and what its maker asks for them, as it was: written once, so that a
    receipt can name it by digest, and a program that pins the digest never pays another price.
    """

    class Rows(models.TextChoices):
        LOOK_UP = "look_up", "Look rows up"
        ONLY = "only", "Answer only from rows"
        NONE = "none", "Answer from memory"

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    instructions = models.TextField(blank=True, max_length=INSTRUCTIONS_MAX)
    rows = models.CharField(max_length=7, choices=Rows, default=Rows.LOOK_UP)
    max_tokens = models.PositiveSmallIntegerField()
    maker_ppm = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="What its maker asks on top, in parts per million of the model's price.",
    )
    digest = models.CharField(
        max_length=64, help_text="SHA-256 of what answers depend on and of what is asked for them."
    )
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["agent", "number"], name="agent_version_number_once"),
            models.CheckConstraint(
                condition=models.Q(max_tokens__range=(1, TOKENS_MAX)),
                name="agent_version_writes_within_the_limit",
            ),
            models.CheckConstraint(
                condition=models.Q(maker_ppm__lte=MAKER_PPM_MAX),
                name="agent_version_asks_at_most_the_price",
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="agent_version_is_final", operation=pgtrigger.Update | pgtrigger.Delete
            )
        ]

    def __str__(self) -> str:
        return f"version {self.number} of {self.agent_id}"

    @property
    def words(self) -> str:
        """A setting and its number, for a list."""
        asked = f", {self.maker_percent} % on top" if self.maker_ppm else ""
        return f"{self.get_rows_display()}, up to {self.max_tokens} tokens{asked}"

    @property
    def maker_percent(self) -> str:
        """What its maker asks on top, in per cent of the model's price."""
        return f"{self.maker_ppm * 100 / PARTS_PER_MILLION:g}"

    def before(self, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        """`messages` as the model reads them: the instructions first."""
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        return [*system, *(dict(message) for message in messages)]

    def digest_over(self, adapter_digest: str) -> str:
        """SHA-256 of everything that an answer and its price depend on besides the question and the
        model's price, as sorted JSON. Agents whose maker asks nothing have the digests of before.
        """
        document = {
            "adapter": adapter_digest,
            "instructions": self.instructions,
            "max_tokens": self.max_tokens,
            "rows": str(self.rows),
            **({"maker_ppm": self.maker_ppm} if self.maker_ppm else {}),
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
