"""Where rows come from, how they were made and what may be done with them, as their giver said.

The fields follow the groups of the Data Provenance Standards 1.0.0 of the Data & Trust Alliance
(dataandtrustalliance.org, 2024); `datanets.provenance` says which field is which. An empty one was
not said: contributions from before there were questions, and programs that leave them out.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q


class Provenance(models.Model):
    """Columns of a contribution; abstract."""

    class Source(models.TextChoices):
        OWN = "own", "The contributor's own"
        ORGANISATION = "organisation", "Their organisation's"
        PUBLISHED = "published", "Published by somebody else"
        RECEIVED = "received", "Given or sold to them"

    class Method(models.TextChoices):
        WRITTEN = "written", "Written by people for this"
        RECORDED = "recorded", "Recorded in daily work"
        EXTRACTED = "extracted", "Taken from documents or web pages"
        MEASURED = "measured", "Measured by a device"
        MIXED = "mixed", "Partly synthetic: people and a program or AI model"
        SYNTHETIC = "synthetic", "Synthetic: made by a program or AI model"

    class Consent(models.TextChoices):
        NOBODY = "nobody", "Nobody is described in them"
        SELF = "self", "Only the contributor is described, and agrees"
        GIVEN = "given", "The people described agreed"
        LAW = "law", "Used without consent, on another legal ground"

    SYNTHETIC_METHODS = (Method.MIXED, Method.SYNTHETIC)

    source = models.CharField(max_length=12, choices=Source, blank=True, default="")
    source_name = models.CharField(max_length=200, blank=True, default="")
    method = models.CharField(max_length=9, choices=Method, blank=True, default="")
    made_by = models.CharField(max_length=120, blank=True, default="")
    origin = models.CharField(max_length=80, blank=True, default="")
    made_from = models.DateField(null=True, blank=True)
    made_to = models.DateField(null=True, blank=True)
    intended_use = models.CharField(max_length=300, blank=True, default="")
    other_rights = models.CharField(max_length=300, blank=True, default="")
    consent = models.CharField(max_length=6, choices=Consent, blank=True, default="")
    consent_evidence = models.CharField(max_length=200, blank=True, default="")
    privacy_means = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        abstract = True

    @property
    def synthetic(self) -> bool:
        """Whether a program or AI model made the rows or a part of them, as their giver said."""
        return self.method in self.SYNTHETIC_METHODS


def provenance_constraints() -> list[models.BaseConstraint]:
    """What the answers owe each other, for the Meta of the model that has them."""
    conditions = {
        "source_is_one_of_the_list": Q(source__in=["", *Provenance.Source.values]),
        "method_is_one_of_the_list": Q(method__in=["", *Provenance.Method.values]),
        "consent_is_one_of_the_list": Q(consent__in=["", *Provenance.Consent.values]),
        "rows_of_others_name_their_source": Q(source__in=["", "own"]) | ~Q(source_name=""),
        "synthetic_rows_name_what_made_them": ~Q(method__in=["mixed", "synthetic"])
        | ~Q(made_by=""),
        "consent_says_where_it_is_written": ~Q(consent__in=["given", "law"])
        | ~Q(consent_evidence=""),
        "rows_were_made_in_the_order_of_time": Q(made_from__isnull=True)
        | Q(made_to__isnull=True)
        | Q(made_from__lte=F("made_to")),
    }
    return [models.CheckConstraint(condition=one, name=name) for name, one in conditions.items()]
