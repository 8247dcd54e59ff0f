"""A run that protects single rows: chosen in the wizard, trained for real, said on every page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from datanets.models import Version
from modelfactory import selectors
from modelfactory.models import BaseModel, Model, Run
from modelfactory.protection import protection_object, protection_of
from modelfactory.services import publish_model, resume_run, retry_safer, start_run
from modelfactory.services.plan import fit_for, make_recipe, recipe_of
from modelfactory.tests.site.conftest import PRICES, settle
from modelfactory.tests.site.test_run_wizard import NEW, START, choices
from modelfactory.tests.site.workers import finish_job, in_thread, wait_until
from openledger_site.accounts.models import User
from openledger_site.core.jobs import cancel_job

LIVE = pytest.mark.django_db(transaction=True)


@pytest.fixture
def protected_run(builder: User, version: Version, base: BaseModel) -> Run:
    return start_run(
        builder=builder, name="Birds", version=version, base=base, effort="quick", epsilon=8.0
    )


def text_of(client: Client, url: str) -> str:
    return " ".join(client.get(url).content.decode().split())


def test_the_wizard_offers_it_and_it_is_off(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    page = client.get(NEW, choices(version, base, step="effort"))
    options = page.context["wizard"].protections
    assert [option["value"] for option in options] == ["16", "8", "4"]
    percents = [option["percent"] for option in options]
    assert percents == sorted(percents, reverse=True)
    assert all(50 < percent < 100 for percent in percents)
    assert not any(option["chosen"] for option in options)
    client.post(START, choices(version, base))
    assert protection_of(Run.objects.get()) is None
    assert "privacy" not in Run.objects.get().recipe


def test_what_is_chosen_is_planned_and_kept_with_the_run(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    plan = text_of(client, f"{NEW}?step=plan&epsilon=4&" + query(choices(version, base)))
    assert "Protected: ε = 4, δ = 1 in 100,000" in plan
    assert "So few rows teach it next to nothing" in plan
    client.post(START, choices(version, base, epsilon="4"))
    privacy = Run.objects.get().recipe["privacy"]
    assert (privacy["epsilon"], privacy["record_count"]) == (4, 5)
    found = protection_of(Run.objects.get())
    assert found is not None
    assert 3.9 < found.epsilon_spent <= 4


def query(fields: dict[str, Any]) -> str:
    return "&".join(f"{name}={value}" for name, value in fields.items())


@pytest.mark.parametrize("epsilon", ["0", "-8", "1000000", "nan", "much"])
def test_no_other_loss_can_be_asked_for(
    client: Client, builder: User, version: Version, base: BaseModel, epsilon: str
) -> None:
    client.force_login(builder)
    assert client.post(START, choices(version, base, epsilon=epsilon)).status_code == 422
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_own_settings_hold_and_the_noise_follows_them(base: BaseModel) -> None:
    few, many = (
        recipe_of(base, "quick", {"epochs": epochs, "rank": 2}, epsilon=8, record_count=500)
        for epochs in (2, 50)
    )
    assert few.privacy is not None
    assert many.privacy is not None
    assert (few.rank, few.alpha) == (2, 4)
    assert few.privacy.steps < many.privacy.steps
    assert few.privacy.noise_multiplier < many.privacy.noise_multiplier
    assert many.privacy.epsilon_spent <= 8
    usual = recipe_of(base, "quick", {"rank": 2})
    assert fit_for(base, many).needed_bytes > fit_for(base, usual).needed_bytes


@pytest.mark.django_db
def test_safer_settings_and_a_clone_protect_as_much(
    client: Client, protected_run: Run, builder: User
) -> None:
    again = retry_safer(settle(protected_run))
    assert again.recipe["privacy"] == protected_run.recipe["privacy"]
    client.force_login(builder)
    page = client.get(reverse("modelfactory:run-detail", args=[protected_run.public_id]))
    assert "epsilon=8&" in page.context["clone_query"]


@LIVE
@pytest.mark.timeout(900)
def test_a_protected_run_is_trained_stopped_and_resumed_and_tells_no_loss(
    start: Callable[..., Run], tiny_base: BaseModel, client: Client
) -> None:
    run = start(epochs=30, epsilon=8.0)
    assert run.job is not None
    thread = in_thread(run.job_id)
    wait_until(lambda: selectors.run_events(run).progress.step is not None, "a step")
    cancel_job(run.job)
    thread.join()
    resume_run(Run.objects.get(pk=run.pk))
    run = Run.objects.select_related("job").get(pk=run.pk)
    finish_job(run.job_id)
    run = Run.objects.select_related("job").get(pk=run.pk)
    assert run.state == "succeeded"
    assert run.metrics["steps"] == run.recipe["privacy"]["steps"]
    assert not {"losses", "tokens"} & set(run.metrics)
    assert selectors.loss_curve(run) == []
    assert run.job is not None
    told = json.dumps(list(run.job.events.values_list("data", flat=True)))
    assert "loss" not in told
    assert "tokens" not in told
    client.force_login(run.builder)
    page = text_of(client, reverse("modelfactory:run-detail", args=[run.public_id]))
    assert "No loss is kept or shown" in page
    assert "Single rows are protected" in page


@pytest.mark.django_db
def test_the_models_page_says_to_everybody_what_is_covered_and_what_is_not(
    client: Client, protected_run: Run
) -> None:
    model = published(protected_run)
    page = text_of(client, reverse("modelfactory:model-detail", args=[model.slug]))
    found = protection_of(protected_run)
    assert found is not None
    assert f"at most <strong>{found.guess_percent} times in 100</strong>" in page
    assert f"ε = {found.epsilon_spent:.2f} of at most 8" in page
    assert "one row with all its wordings" in page
    assert "Not covered" in page


def published(run: Run) -> Model:
    return publish_model(
        settle(run), name="Birds", slug="birds", card="", visibility="public", **PRICES
    )


@pytest.mark.django_db
def test_the_suggested_card_and_programs_get_the_numbers(
    client: Client, protected_run: Run, builder: User
) -> None:
    settle(protected_run)
    client.force_login(builder)
    url = reverse("modelfactory:model-publish", args=[protected_run.public_id])
    assert "Single rows are protected in its adapter" in text_of(client, url)
    told = protection_object(protected_run)
    assert told is not None
    assert (told["unit"], told["covers"], told["epsilon"]) == ("record", "adapter", 8)
    assert 7.9 < told["epsilon_spent"] <= 8
    assert told["steps"] == protected_run.recipe["privacy"]["steps"]


@pytest.mark.django_db
def test_other_models_claim_nothing(client: Client, make_model: Callable[..., Model]) -> None:
    model = make_model()
    url = reverse("modelfactory:model-detail", args=[model.slug])
    assert "Single rows are protected" not in text_of(client, url)
    assert protection_object(model.run) is None
    assert "privacy" not in make_recipe(model.base, "quick", {})
