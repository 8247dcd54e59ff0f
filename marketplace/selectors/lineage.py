"""From a Datanet to its versions, to the models that learnt them, to what those earned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet, Sum

from datanets.models import Datanet, Version
from datanets.selectors import counts_shown
from marketplace.models import AnswerShare, Inference
from modelfactory.models import Model
from modelfactory.selectors import models_visible_to

VERSIONS_MAX = 20
MODELS_MAX = 50


@dataclass(frozen=True)
class ModelLine:
    """A model that the reader may see, with what its settled answers brought in, in wei."""

    model: Model
    answers: int
    fees_wei: int
    contributors_wei: int


@dataclass(frozen=True)
class VersionLine:
    version: Version
    models: list[ModelLine]


@dataclass(frozen=True)
class RowEarnings:
    """What the rows of a Datanet have earned so far, by the models that the reader may see."""

    answers: int
    paid_wei: int
    rows: int

    @property
    def per_row_wei(self) -> int:
        return self.paid_wei // self.rows if self.rows else 0


def lineage_of(user: Any, datanet: Datanet) -> list[VersionLine]:
    """The newest versions with their models; the caller has checked that the Datanet is seen."""
    versions = list(datanet.versions.order_by("-number")[:VERSIONS_MAX])
    models = list(_models(user, datanet).order_by("-published_at")[:MODELS_MAX])
    answers = _answers_by_model(models)
    paid = _paid_by_model(models)
    lines: dict[int, list[ModelLine]] = {}
    for model in models:
        count, fees = answers.get(model.pk, (0, 0))
        line = ModelLine(model, count, fees, paid.get(model.pk, 0))
        lines.setdefault(model.run.version_id, []).append(line)
    return [VersionLine(version, lines.get(version.pk, [])) for version in versions]


def row_earnings(user: Any, datanet: Datanet) -> RowEarnings:
    """The mean over the rows that the page counts: it says what was, and promises nothing."""
    shares = AnswerShare.objects.filter(
        inference__model__in=_models(user, datanet).values("pk"),
        inference__state=Inference.State.SETTLED,
    )
    totals = shares.aggregate(paid=Sum("amount_wei"), answers=Count("inference", distinct=True))
    return RowEarnings(totals["answers"], int(totals["paid"] or 0), counts_shown(datanet)[0].rows)


def _models(user: Any, datanet: Datanet) -> QuerySet[Model]:
    return models_visible_to(user).filter(run__version__datanet=datanet.pk)


def _answers_by_model(models: list[Model]) -> dict[int, tuple[int, int]]:
    rows = (
        Inference.objects.filter(model__in=models, state=Inference.State.SETTLED)
        .order_by()
        .values("model")
        .annotate(answers=Count("pk"), fees=Sum("fee_wei"))
    )
    return {row["model"]: (row["answers"], int(row["fees"] or 0)) for row in rows}


def _paid_by_model(models: list[Model]) -> dict[int, int]:
    rows = (
        AnswerShare.objects.filter(inference__model__in=models)
        .order_by()
        .values("inference__model")
        .annotate(paid=Sum("amount_wei"))
    )
    return {row["inference__model"]: int(row["paid"] or 0) for row in rows}
