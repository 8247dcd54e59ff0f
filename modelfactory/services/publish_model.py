"""Publish the adapter of a settled run as a model with a page, a price and a lineage."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from datanets.models import Datanet, Version
from datanets.selectors import may_serve, training_rows
from modelfactory.models import Model, ModelContributor, Run
from modelfactory.protection import protection_of, protection_words
from modelfactory.selectors import can_be_calibrated, index_of
from modelfactory.services.calibrate_model import start_calibration
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, NotAllowed
from openledger_site.core.row_security import all_rows


class NotReadyToPublish(Conflict):
    code = "run_not_ready"
    message = "Only a run that succeeded can be published, and only once."


class RightToServeEnded(NotAllowed):
    code = "no_right_to_serve"
    message = "The right to use the data behind this model was taken back, so it cannot be used."


class SlugTaken(Conflict):
    code = "slug_taken"
    message = "Another model has this address. Choose another one."


def publish_model(
    run: Run,
    *,
    name: str,
    slug: str,
    card: str,
    visibility: str,
    price_prompt_wei: int,
    price_completion_wei: int,
    platform_fee_wei: int,
) -> Model:
    """Make the model row and its lineage.

    Raises `NotReadyToPublish`, `RightToServeEnded` or `SlugTaken`.
    """
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run.pk)
        if not run.succeeded or Model.objects.filter(run=run).exists():
            raise NotReadyToPublish()
        check_serving(run)
        try:
            with transaction.atomic():
                model = Model.objects.create(
                    owner=run.builder,
                    run=run,
                    base=run.base,
                    adapter_digest=run.adapter_digest,
                    name=name,
                    slug=slug,
                    card=card,
                    visibility=visibility,
                    price_prompt_wei=price_prompt_wei,
                    price_completion_wei=price_completion_wei,
                    platform_fee_wei=platform_fee_wei,
                )
        except IntegrityError as problem:
            raise SlugTaken(where="slug") from problem
        _record_lineage(model)
        _measure(model)
        record_audit(
            "model.published",
            actor=run.builder,
            subject=f"model:{model.public_id}",
            adapter=model.adapter_digest,
            prices_wei=[str(price_prompt_wei), str(price_completion_wei), str(platform_fee_wei)],
        )
    return model


def check_serving(run: Run) -> None:
    """Raises `RightToServeEnded` once what the run learnt may not be used any more."""
    if not may_serve(run.builder, run.version.datanet_id):
        raise RightToServeEnded()


def _measure(model: Model) -> None:
    """Begin to measure its attribution, in this transaction: a crash loses neither or both.

    An equal adapter may have a measurement that its owner stopped; publishing does not undo that.
    """
    index = index_of(model.adapter_digest)
    if index is None or getattr(getattr(index, "calibration", None), "stopped_at", None):
        return
    if settings.CALIBRATE_ON_PUBLISH and can_be_calibrated(index):
        start_calibration(model, actor=model.owner)


@all_rows("lineage names every contributor")
def rows_by_contributor(version: Version) -> list[tuple[Any, int]]:
    """Who gave how many of the rows that are trained, most rows first: [(user, rows), …]."""
    counts = Counter(row.contributor_id for row in training_rows(version))
    people = get_user_model().objects.filter(public_id__in=counts)
    found = [(person, counts[str(person.public_id)]) for person in people]
    return sorted(found, key=lambda pair: (-pair[1], pair[0].pk))


def _record_lineage(model: Model) -> None:
    rows = rows_by_contributor(model.run.version)
    ModelContributor.objects.bulk_create(
        ModelContributor(model=model, contributor=person, row_count=count) for person, count in rows
    )


def suggested_card(run: Run, verdict: Any) -> str:
    """A first card made from facts only; the owner adds the judgement."""
    lines = [run.goal] if run.goal else []
    datanet = run.version.datanet
    private = datanet.visibility == Datanet.Visibility.PRIVATE  # strangers read the card
    data = "a private Datanet" if private else f"**{datanet.name}**, version {run.version.number}"
    lines.append(f"Tuned from **{run.base.name}** on {run.training_row_count} rows of {data}.")
    if verdict is not None:
        lines.append(
            f"On {verdict.memory.questions} questions worded differently from the training rows "
            f"it answered {verdict.memory.tuned_percent} % exactly right from memory; its base "
            f"{verdict.memory.base_percent} %."
        )
    protection = protection_of(run)
    if protection is not None:
        lines.append(protection_words(protection))
    lines.append("## What it gets wrong\n\nAsk only about what its data covers.")
    return "\n\n".join(lines)
