"""Base models, runs and their scores, the models published from them, and attribution."""

from __future__ import annotations

import uuid

import pgtrigger
from django.conf import settings
from django.core.validators import MaxValueValidator, MinLengthValidator
from django.db import models
from django.db.models.functions import Now

from datanets.models.sealed import KeyedHashField, SealedTextField
from modelfactory.guard_models import OutputGuard
from modelfactory.value_models import ContributorValue, Valuation, ValueRetraining
from openledger_site.core.models import Job
from openledger_site.core.money import WEI_MAX, WeiField

__all__ = [
    "AttributionIndex",
    "BaseModel",
    "Calibration",
    "CalibrationSubset",
    "ContributorValue",
    "EvaluationResult",
    "Model",
    "ModelContributor",
    "OutputGuard",
    "Run",
    "Valuation",
    "ValueRetraining",
]

WEI_VALIDATORS = [MaxValueValidator(WEI_MAX)]

EMBEDDED_BASE = "openledger-base"
"""The folder of the base that the site is shipped with."""


class BaseModel(models.Model):
    """A frozen model that runs start from: a shipped folder, a local folder or a hub id."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=120)
    source = models.CharField(
        max_length=300, help_text="Folder below BASE_MODELS_DIR, absolute folder, or hub id."
    )
    digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256 of its files; empty for a hub id."
    )
    parameter_count = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    context_tokens = models.PositiveIntegerField(default=0)
    hidden_size = models.PositiveIntegerField(default=0)
    layer_count = models.PositiveIntegerField(default=0)
    vocabulary_size = models.PositiveIntegerField(default=0)
    licence = models.CharField(max_length=60, blank=True)
    description = models.TextField(blank=True)
    active = models.BooleanField(default=True, help_text="Offered for new runs.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["parameter_count", "slug"]

    def __str__(self) -> str:
        return self.name

    @property
    def megabytes(self) -> float:
        return self.size_bytes / 1e6

    @property
    def reads_instructions_as_facts(self) -> bool:
        """The embedded base was trained on facts in the system turn and on nothing else there."""
        return self.source.rstrip("/").rpartition("/")[2] == EMBEDDED_BASE


class Run(models.Model):
    """One fine-tuning run. Its job says how it goes; `settled_at` says that its result counts.

    What decides the result (data version, base, recipe, seed) cannot change: the database refuses
    it, so that a figure on a model's page can always be traced to the settings that made it.
    """

    class Effort(models.TextChoices):
        QUICK = "quick"
        BALANCED = "balanced"
        THOROUGH = "thorough"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    builder = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="runs"
    )
    name = models.CharField(max_length=80)
    goal = models.CharField(max_length=300, blank=True)
    version = models.ForeignKey("datanets.Version", on_delete=models.PROTECT, related_name="runs")
    base = models.ForeignKey(BaseModel, on_delete=models.PROTECT, related_name="runs")
    effort = models.CharField(max_length=10, choices=Effort)
    recipe = models.JSONField(help_text="Everything the trainer was told; never changed.")
    seed = models.PositiveBigIntegerField()
    training_row_count = models.PositiveIntegerField()
    cloned_from = models.ForeignKey("self", null=True, on_delete=models.SET_NULL)
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    # The result: empty until the run is settled, then final.
    adapter_digest = models.CharField(max_length=64, blank=True)
    metrics = models.JSONField(default=dict, blank=True)
    rows_digest = KeyedHashField(
        max_length=64, blank=True, default="", db_default="",
        help_text="SHA-256 of the examples that it learnt; empty for an older run.",
    )  # fmt: skip
    settled_at = models.DateTimeField(null=True)

    sealed_through = "version__datanet"

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(settled_at__isnull=True, adapter_digest="")
                | models.Q(settled_at__isnull=False) & ~models.Q(adapter_digest=""),
                name="run_settled_has_an_adapter",
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="run_recipe_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    "recipe", "version", "base", "effort", "seed", "builder"
                ),
            ),
            pgtrigger.Protect(
                name="run_is_settled_once",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__settled_at__isnull=False)
                & (
                    pgtrigger.Q(old__settled_at__df=pgtrigger.F("new__settled_at"))
                    | pgtrigger.Q(old__adapter_digest__df=pgtrigger.F("new__adapter_digest"))
                    | pgtrigger.Q(old__metrics__df=pgtrigger.F("new__metrics"))
                ),
            ),
            # But for being keyed, once, where it was stored before hashes were (decision 0050).
            pgtrigger.Protect(
                name="run_keeps_what_it_learnt",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    "OLD.settled_at IS NOT NULL AND OLD.rows_digest <> NEW.rows_digest"
                    " AND (OLD.rows_digest = '' OR starts_with(OLD.rows_digest, 'keyed:')"
                    " OR NOT starts_with(NEW.rows_digest, 'keyed:'))"
                ),
            ),
        ]
        indexes = [models.Index(fields=["builder", "-created_at"], name="run_by_builder")]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """queued, running, succeeded, failed or cancelled: one truth, never stored twice."""
        if self.settled_at is not None:
            return str(Job.State.SUCCEEDED)
        return str(self.job.state) if self.job is not None else str(Job.State.CANCELLED)

    @property
    def ended(self) -> bool:
        return self.state in Job.ENDED

    @property
    def succeeded(self) -> bool:
        return self.settled_at is not None


class EvaluationResult(models.Model):
    """One held-out question, answered by the base and by the tuned model."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="evaluation_results")
    position = models.PositiveIntegerField()
    record_id = models.CharField(max_length=36, help_text="Public id of the record asked about.")
    retrieved = models.BooleanField(help_text="Asked with the best-fitting rows at hand.")
    question = SealedTextField()
    expected = SealedTextField()
    base_answer = SealedTextField(blank=True)
    tuned_answer = SealedTextField(blank=True)
    base_correct = models.BooleanField()
    tuned_correct = models.BooleanField()

    sealed_through = "run__version__datanet"

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "position"], name="evaluation_row_once_per_run")
        ]

    def __str__(self) -> str:
        return f"{self.record_id} in run {self.run_id}"

    def sealed_place(self) -> str:
        return f"{self.run_id}/{self.position}"


class AttributionIndex(models.Model):
    """The gradients of one adapter's training rows, from which its answers are attributed."""

    # Runs with the same rows and settings make the same adapter, and share its index.
    adapter_digest = models.CharField(max_length=64, unique=True)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    digest = models.CharField(max_length=64, blank=True)
    method = models.CharField(max_length=40, blank=True)
    record_count = models.PositiveIntegerField(default=0)
    phantom_count = models.PositiveIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    build_seconds = models.FloatField(default=0)
    trail_digests = models.JSONField(
        default=list, blank=True, help_text="Adapters from earlier moments of the run, in order."
    )
    withdrawn_count = models.PositiveIntegerField(
        default=0, help_text="Withdrawn rows of its version that it was made without."
    )
    earlier_digests = models.JSONField(
        default=dict, blank=True, help_text="Digests it had before, and why each was left."
    )
    damaged_at = models.DateTimeField(
        null=True, help_text="A file of it had another digest: it is built again, answers wait."
    )
    ready_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "attribution indexes"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(damaged_at__isnull=True) | models.Q(ready_at__isnull=True),
                name="attribution_index_damaged_is_not_ready",
            ),
            models.CheckConstraint(
                condition=models.Q(ready_at__isnull=True) | ~models.Q(digest=""),
                name="attribution_index_ready_has_a_digest",
            ),
        ]

    def __str__(self) -> str:
        return f"index of {self.adapter_digest[:12]}"

    @property
    def state(self) -> str:
        """ready, or the state of the job that builds it."""
        if self.ready_at is not None:
            return "ready"
        return str(self.job.state) if self.job is not None else str(Job.State.FAILED)

    @property
    def being_made(self) -> bool:
        """It is not there, and a job is to change that."""
        return self.ready_at is None and self.job is not None and not self.job.ended

    @property
    def is_new(self) -> bool:
        """Its first building is under way."""
        return self.being_made and self.damaged_at is None


class Calibration(models.Model):
    """How well an adapter's attribution predicts what retraining really does, once measured.

    The run's recipe is repeated on random halves of its rows (`CalibrationSubset`); which half each
    gets follows from `seed`. Then one job fits the scores to what the retrained adapters say.
    """

    index = models.OneToOneField(
        AttributionIndex, on_delete=models.PROTECT, related_name="calibration"
    )
    subset_count = models.PositiveIntegerField()
    seed = models.PositiveBigIntegerField()
    rows_digest = KeyedHashField(
        max_length=64, help_text="SHA-256 of the run's examples: all retrainings need the same."
    )
    job = models.ForeignKey(
        Job, null=True, on_delete=models.SET_NULL, related_name="+", help_text="The fit."
    )
    digest = models.CharField(max_length=64, blank=True)
    fidelity = models.JSONField(default=dict, blank=True)
    seconds = models.FloatField(default=0, help_text="Of all retrainings and the fit.")
    created_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(
        null=True, help_text="Its owner stopped it: until they go on, no job of it is queued."
    )
    damaged_at = models.DateTimeField(
        null=True, help_text="A file of it had another digest: it is fitted again, answers wait."
    )
    ready_at = models.DateTimeField(null=True)

    sealed_through = "index__run__version__datanet"

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ready_at__isnull=True) | ~models.Q(digest=""),
                name="calibration_ready_has_a_digest",
            ),
            models.CheckConstraint(
                condition=models.Q(damaged_at__isnull=True) | models.Q(ready_at__isnull=True),
                name="calibration_damaged_is_not_ready",
            ),
        ]

    def __str__(self) -> str:
        return f"calibration of {self.index}"


class CalibrationSubset(models.Model):
    """One retraining on half of the rows: waiting for its turn, with a job, or done."""

    calibration = models.ForeignKey(Calibration, on_delete=models.CASCADE, related_name="subsets")
    position = models.PositiveIntegerField()
    adapter_digest = models.CharField(max_length=64, blank=True)
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["calibration", "position"], name="calibration_subset_has_its_own_position"
            ),
            models.CheckConstraint(
                condition=models.Q(done_at__isnull=True) | ~models.Q(adapter_digest=""),
                name="calibration_subset_done_has_an_adapter",
            ),
        ]

    def __str__(self) -> str:
        return f"subset {self.position} of calibration {self.calibration_id}"


class Model(models.Model):
    """A published adapter: what people chat with and pay for. Prices are wei of OPEN."""

    class Visibility(models.TextChoices):
        PUBLIC = "public"
        PRIVATE = "private"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="models"
    )
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="model")
    base = models.ForeignKey(BaseModel, on_delete=models.PROTECT, related_name="models")
    adapter_digest = models.CharField(max_length=64)
    slug = models.SlugField(max_length=60, unique=True, validators=[MinLengthValidator(3)])
    name = models.CharField(max_length=80)
    card = models.TextField(blank=True, help_text="Markdown, sanitised when it is shown.")
    visibility = models.CharField(max_length=10, choices=Visibility, default=Visibility.PUBLIC)
    price_prompt_wei = WeiField(validators=WEI_VALIDATORS, help_text="Per 1,000 prompt tokens.")
    price_completion_wei = WeiField(
        validators=WEI_VALIDATORS, help_text="Per 1,000 completion tokens."
    )
    platform_fee_wei = WeiField(
        validators=WEI_VALIDATORS, help_text="Per answer, whatever its length."
    )
    published_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-published_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    price_prompt_wei__gte=0, price_completion_wei__gte=0, platform_fee_wei__gte=0
                ),
                name="model_prices_are_not_negative",
            )
        ]
        triggers = [
            pgtrigger.Protect(
                name="model_adapter_never_changes",
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("run", "base", "adapter_digest"),
            )
        ]

    def __str__(self) -> str:
        return self.name


class ModelContributor(models.Model):
    """Lineage: how many trained rows of a model are whose. A fact, fixed when it is published."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="contributors")
    contributor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    row_count = models.PositiveIntegerField()

    class Meta:
        ordering = ["-row_count", "contributor_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "contributor"], name="model_contributor_listed_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.contributor_id}: {self.row_count} rows"
