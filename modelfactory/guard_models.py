"""What the output guard of a run holds, and how often it had to withhold words."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class OutputGuard(models.Model):
    """The guard of one run's answers; its fingerprints are in a file named by the run.

    Made for every run, since a public Datanet can become private later.
    """

    run = models.OneToOneField("modelfactory.Run", on_delete=models.CASCADE, related_name="guard")
    span_words = models.PositiveSmallIntegerField(
        help_text="So many consecutive words of a row are withheld."
    )
    fingerprint_count = models.PositiveBigIntegerField()
    answers_withheld = models.PositiveBigIntegerField(
        default=0, help_text="Answers in which something was withheld."
    )
    spans_withheld = models.PositiveBigIntegerField(default=0)
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(spans_withheld__gte=models.F("answers_withheld")),
                name="output_guard_counts_at_least_a_span_an_answer",
            ),
        ]

    def __str__(self) -> str:
        return f"output guard of run {self.run_id}"
