"""A run on private rows measures what it gives away, and its model's page says it in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from datanets.models import Datanet, Membership
from datanets.models.sealed import is_keyed
from modelfactory.models import Model, Run
from modelfactory.privacy import Privacy, privacy_of
from modelfactory.services.adapters import adapter_folder
from modelfactory.services.training_files import are_learnt, examples_of
from modelfactory.tests.site.workers import finish_job
from openledger_site.accounts.models import User


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(900)
def test_a_private_run_is_measured_and_its_adapter_has_no_canary(
    start: Callable[..., Run], builder: User
) -> None:
    """The adapter is the same as without the measurement: only a repeat learns canaries."""
    datanet = Datanet.objects.get()
    public, private = start(epochs=2), start(epochs=2)
    finish_job(public.job_id)
    Datanet.objects.update(visibility="private")
    Membership.objects.create(datanet=datanet, user=builder, role="trainer")
    finish_job(private.job_id)
    public.refresh_from_db()
    private.refresh_from_db()
    assert private.adapter_digest == public.adapter_digest
    assert (is_keyed(public.rows_digest), is_keyed(private.rows_digest)) == (False, True)
    assert are_learnt(private.version, private.rows_digest, examples_of(private.version))
    assert adapter_folder(private.adapter_digest).is_dir()
    assert privacy_of(public) is None
    found = privacy_of(private)
    assert found is not None
    assert (found.planted, found.asked, found.guesses) == (settings.CANARY_COUNT, 5, 100)
    assert private.job is not None
    assert private.job.events.filter(kind="probing").exists()
    assert not list(Path(settings.RUNS_DIR).iterdir()), "private text left on disk"


def measured(ranks: list[int]) -> dict[str, Any]:
    from math import log2

    bits = sum(log2(100 / rank) for rank in ranks) / len(ranks)
    return {
        "exposure": {
            "guesses": 100, "ranks": ranks, "control_ranks": [50] * len(ranks), "bits": bits,
            "control_bits": 1.0,
        },
        "recitation": {"asked": 50, "tuned": 12, "base": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ranks", "verdict", "most_percent"),
    [
        ([1, 1, 40, 60, 30, 80, 20, 50], "given_away", 59),
        ([2, 3, 5, 9, 10, 4, 20, 18], "trace", 32),
        ([55, 31, 36, 17, 39, 89, 49, 32], "none_found", 32),
        ([1, 31, 96, 77, 39, 89, 49, 72], "none_found", 47),
    ],
)
def test_the_verdict_follows_from_chance(ranks: list[int], verdict: str, most_percent: int) -> None:
    """One canary in eight comes first by luck in every thirteenth model that learnt nothing."""
    found = privacy_of(Run(metrics={"privacy": measured(ranks)}))
    assert isinstance(found, Privacy)
    assert (found.verdict, found.most_percent) == (verdict, most_percent)
    assert round(found.chance_bits, 2) == 1.40


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ([1, 1, 1, 1], "Who guesses finds secrets"),
        ([3, 4, 5, 2], "better than chance"),
        ([50, 60, 70, 90], "not a proof"),
    ],
)
def test_the_page_says_it_to_everybody(
    run: Run, ranks: list[int], words: str, stranger: User
) -> None:
    from modelfactory.services import publish_model
    from modelfactory.tests.site.conftest import PRICES, settle

    Run.objects.filter(pk=run.pk).update(metrics={"privacy": measured(ranks)})
    model: Model = publish_model(
        settle(run), name="Birds", slug="birds", card="", visibility="public", **PRICES
    )
    client = Client()
    url = reverse("modelfactory:model-detail", args=[model.slug])
    page = " ".join(client.get(url).content.decode().split())
    assert "Does it give away single rows?" in page
    assert words in page
    assert "12 of 50; its base 1" in page
    assert json.dumps(ranks) not in page


@pytest.mark.django_db
def test_a_model_that_was_not_measured_claims_nothing(make_model: Callable[..., Model]) -> None:
    url = reverse("modelfactory:model-detail", args=[make_model().slug])
    assert b"give away single rows" not in Client().get(url).content
