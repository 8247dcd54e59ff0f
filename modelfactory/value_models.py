"""Which contributors made a model better, once measured. Offered by `modelfactory.models`."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from datanets.models.sealed import KeyedHashField
from openledger_site.core.models import Job


class Valuation(models.Model):
    """Who made an adapter better: the run is repeated, each time without one contributor's rows.

    Nothing of the repeated runs is kept but the losses of the held-out questions. The estimate that
    a calibration allows comes first and costs no retraining.
    """

    index = models.OneToOneField(
        "modelfactory.AttributionIndex", on_delete=models.PROTECT, related_name="valuation"
    )
    rows_digest = KeyedHashField(
        max_length=64, help_text="SHA-256 of the run's examples: all retrainings need the same."
    )
    repeat_count = models.PositiveIntegerField()
    question_count = models.PositiveIntegerField()
    estimate_job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    estimated_at = models.DateTimeField(null=True)
    seconds = models.FloatField(default=0, help_text="Of all retrainings.")
    created_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(
        null=True, help_text="Its owner stopped it: until they go on, no job of it is queued."
    )
    ready_at = models.DateTimeField(null=True)

    sealed_through = "index__run__version__datanet"

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(repeat_count__gt=0, question_count__gt=0),
                name="valuation_repeats_and_asks",
            )
        ]

    def __str__(self) -> str:
        return f"valuation of {self.index}"


class ValueRetraining(models.Model):
    """One repeat of the run, without one contributor's rows or, with nobody named, with all."""

    valuation = models.ForeignKey(Valuation, on_delete=models.CASCADE, related_name="retrainings")
    position = models.PositiveIntegerField()
    left_out = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    repeat = models.PositiveIntegerField(help_text="Added to the run's seed.")
    losses = models.JSONField(
        default=list, blank=True, help_text="Of each held-out question, nats per response token."
    )
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    done_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["valuation", "position"], name="value_retraining_has_its_own_position"
            ),
            models.UniqueConstraint(
                fields=["valuation", "left_out", "repeat"],
                nulls_distinct=False,
                name="value_retraining_repeats_once",
            ),
            models.CheckConstraint(
                condition=models.Q(done_at__isnull=True) | ~models.Q(losses=[]),
                name="value_retraining_done_has_losses",
            ),
        ]

    def __str__(self) -> str:
        return f"retraining {self.position} of valuation {self.valuation_id}"


class ContributorValue(models.Model):
    """What one contributor's rows did to the held-out loss: above zero, they made it better.

    Nats per response token with 95 % intervals: estimated from the calibration, then measured by
    leaving the rows out. Empty until known; both of everybody who fits the budget.
    """

    valuation = models.ForeignKey(Valuation, on_delete=models.CASCADE, related_name="contributors")
    contributor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    row_count = models.PositiveIntegerField()
    estimate = models.FloatField(null=True)
    estimate_low = models.FloatField(null=True)
    estimate_high = models.FloatField(null=True)
    measured = models.FloatField(null=True)
    measured_low = models.FloatField(null=True)
    measured_high = models.FloatField(null=True)

    class Meta:
        ordering = ["-row_count", "contributor_id"]
        constraints = [
            models.UniqueConstraint(
                fields=["valuation", "contributor"], name="contributor_value_listed_once"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    estimate__isnull=True, estimate_low__isnull=True, estimate_high__isnull=True
                )
                | models.Q(
                    estimate__gte=models.F("estimate_low"), estimate__lte=models.F("estimate_high")
                ),
                name="contributor_value_estimate_is_in_its_interval",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    measured__isnull=True, measured_low__isnull=True, measured_high__isnull=True
                )
                | models.Q(
                    measured__gte=models.F("measured_low"), measured__lte=models.F("measured_high")
                ),
                name="contributor_value_measured_is_in_its_interval",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.contributor_id} in valuation {self.valuation_id}"
