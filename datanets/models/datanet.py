"""A Datanet, its members, and the grants it gives to others."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from datanets.licences import licence_choices


def _left_out_at_first() -> list[str]:
    return ["malware"]


class Datanet(models.Model):
    """A data network about one topic."""

    class Visibility(models.TextChoices):
        PUBLIC = "public", "Public: anybody reads the rows and may train on them"
        RESTRICTED = "restricted", "Restricted: anybody sees the card, rows need a grant"
        PRIVATE = "private", "Private: only members know it exists"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=80)
    description = models.TextField(max_length=2_000)
    guidelines = models.TextField(
        max_length=10_000, blank=True, help_text="What a good row looks like; reviewers see it."
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="owned_datanets"
    )
    visibility = models.CharField(max_length=10, choices=Visibility, default=Visibility.PUBLIC)
    licence = models.CharField(
        max_length=60, choices=licence_choices, help_text="What contributors are offered first."
    )
    # Rules of `datanets.checks` whose rows are left out at once, by the owner's choice.
    left_out_rules = models.JSONField(default=_left_out_at_first, blank=True)
    votes_per_row = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(5)],
        help_text="Blind votes that decide a row; a tie goes to a curator. Rows of a trusted"
        " contributor need one.",
    )
    gold_every = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(1_000)],
        help_text="After so many votes a reviewer gets a test row; 0 for none.",
    )
    newcomer_rows_a_day = models.PositiveIntegerField(
        default=2_000,
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000)],
        help_text="Who is new here sends no more once so many rows came in a day; who is known,"
        " ten times as many.",
    )
    access_questions = models.TextField(
        max_length=1_000,
        blank=True,
        help_text="One question a line; whoever asks for access answers each.",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(votes_per_row__range=(1, 5)), name="one_to_five_votes_decide"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("datanets:datanet-detail", args=[self.slug])

    @property
    def questions(self) -> list[str]:
        """What the owner asks of people who want access."""
        return [line.strip() for line in self.access_questions.splitlines() if line.strip()]


class Membership(models.Model):
    """What one person is in a Datanet. The owner has a row too."""

    class Role(models.TextChoices):
        OWNER = "owner", "Owner: everything"
        CURATOR = "curator", "Curator: reads and reviews rows, cuts versions, decides on access"
        REVIEWER = "reviewer", "Reviewer: reads and reviews rows"
        CONTRIBUTOR = "contributor", "Contributor: adds rows, sees their own"
        READER = "reader", "Reader: reads rows and trains on them"
        TRAINER = "trainer", "Trainer: trains on rows without reading them"

    CURATING = (Role.OWNER, Role.CURATOR)
    REVIEWING = (*CURATING, Role.REVIEWER)
    READING = (*REVIEWING, Role.READER)
    TRAINING = (*READING, Role.TRAINER)

    datanet = models.ForeignKey(Datanet, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="datanet_memberships"
    )
    role = models.CharField(max_length=12, choices=Role)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["datanet", "user"], name="member_once_per_datanet"),
            models.UniqueConstraint(
                fields=["datanet"],
                condition=models.Q(role="owner"),
                name="datanet_has_one_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} is {self.role} of {self.datanet_id}"


class AccessGrant(models.Model):
    """A right somebody asked for, with a purpose and a term: to read rows, or to train on them."""

    class Right(models.TextChoices):
        READ = "read", "Read the rows (and train on them)"
        TRAIN = "train", "Train on the rows without reading them"

    class State(models.TextChoices):
        REQUESTED = "requested"
        GRANTED = "granted"
        REFUSED = "refused"
        REVOKED = "revoked"
        WITHDRAWN = "withdrawn"
        EXPIRED = "expired"

    OPEN = (State.REQUESTED, State.GRANTED)

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    datanet = models.ForeignKey(Datanet, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="datanet_grants"
    )
    right = models.CharField(max_length=5, choices=Right)
    purpose = models.CharField(max_length=500)
    term_days = models.PositiveSmallIntegerField(default=365, help_text="Asked for.")
    answers = models.JSONField(
        default=list, blank=True, help_text="The owner's questions with what was answered."
    )
    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    answer = models.CharField(max_length=500, blank=True, help_text="Why it was decided so.")
    expires_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["datanet", "user", "right"],
                condition=models.Q(state__in=["requested", "granted"]),
                name="grant_open_once_per_right",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.right} {self.state} for {self.user_id} on {self.datanet_id}"

    @property
    def expired(self) -> bool:
        """Its term is over; nobody has to write that down."""
        over = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.state == self.State.GRANTED and over

    @property
    def state_shown(self) -> str:
        return "expired" if self.expired else str(self.state)
