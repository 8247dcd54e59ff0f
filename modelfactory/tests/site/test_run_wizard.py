"""The wizard at /factory/runs/new/ and the POST that starts a run."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from datanets.models import Version
from modelfactory.models import BaseModel, Run
from openledger_site.accounts.models import User

NEW, START = "/factory/runs/new/", "/factory/runs/start/"


def choices(version: Version, base: BaseModel, **more: Any) -> dict[str, Any]:
    return {
        "name": "Birds",
        "version": str(version.public_id),
        "base": base.slug,
        "effort": "quick",
    } | more


def test_urls_are_what_other_programs_know() -> None:
    assert (reverse("modelfactory:run-new"), reverse("modelfactory:run-start")) == (NEW, START)


def test_anonymous_visitors_are_sent_to_sign_in(client: Client, db: None) -> None:
    assert client.get(NEW)["Location"].startswith("/accounts/login/")
    assert client.post(START)["Location"].startswith("/accounts/login/")


def test_the_wizard_is_read_with_get_and_a_run_is_started_with_post(
    client: Client, builder: User
) -> None:
    client.force_login(builder)
    assert client.post(NEW).status_code == 405
    assert client.get(START).status_code == 405


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("goal", "What should it learn?"),
        ("data", "Birds, version 1"),
        ("base", "1.0 million"),
        ("effort", "Advanced settings"),
        ("plan", "Start training"),
    ],
)
def test_each_step_shows_its_question(
    client: Client, builder: User, version: Version, base: BaseModel, step: str, words: str
) -> None:
    client.force_login(builder)
    page = client.get(NEW, choices(version, base, step=step))
    assert page.status_code == 200
    assert words in page.content.decode()


def test_a_step_that_is_only_opened_names_no_mistake(client: Client, builder: User) -> None:
    client.force_login(builder)
    page = client.get(NEW).content.decode()
    assert "This field is required" not in page
    assert "aria-invalid" not in page
    sent_back = client.get(NEW, {"name": "", "step": "data"}).content.decode()
    assert "This field is required" in sent_back


def test_a_step_is_not_passed_without_an_answer(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    page = client.get(NEW, choices(version, base) | {"base": "", "step": "plan"})
    assert page.context["wizard"].step == "base"
    assert page.context["wizard"].errors


def test_the_plan_says_who_gave_the_rows_and_shows_what_is_learnt(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    page = client.get(NEW, choices(version, base, step="plan"))
    plan = page.context["wizard"].plan
    assert [(share["label"], share["value"]) for share in plan.shares] == [
        ("Carla", 3),
        ("Olive", 2),
    ]
    assert "<mark>It lays two eggs.</mark>" in page.content.decode()


def test_data_one_may_only_train_on_is_not_shown(
    client: Client, builder: User, private_version: Version, base: BaseModel
) -> None:
    private_version.datanet.memberships.create(user=builder, role="trainer")
    client.force_login(builder)
    page = client.get(NEW, choices(private_version, base, step="plan"))
    assert page.context["wizard"].step == "plan"
    assert "two eggs" not in page.content.decode()


def test_starting_queues_one_run_and_leads_to_its_page(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    answer = client.post(START, choices(version, base))
    run = Run.objects.get()
    assert answer["Location"] == f"/factory/runs/{run.public_id}/"
    assert (run.state, run.builder, run.recipe["base"]) == ("queued", builder, "small")


def test_the_same_key_twice_starts_one_run(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    answers = [client.post(START, choices(version, base, idempotency_key="k")) for _ in range(3)]
    assert len({answer["Location"] for answer in answers}) == 1
    assert Run.objects.count() == 1


def test_settings_of_ones_own_override_the_effort(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    client.post(START, choices(version, base, rank=4, learning_rate="0.001", epochs=3, seed=9))
    recipe = Run.objects.get().recipe
    assert (recipe["rank"], recipe["alpha"], recipe["learning_rate"]) == (4, 8, 0.001)
    assert (recipe["epochs"], recipe["seed"]) == (3, 9)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"effort": "heroic"}, {"rank": "0"}, {"base": "none"}, {"version": "x"}]
)
def test_wrong_answers_are_refused_at_their_step(
    client: Client, builder: User, version: Version, base: BaseModel, wrong: dict[str, str]
) -> None:
    client.force_login(builder)
    answer = client.post(START, choices(version, base) | wrong)
    assert answer.status_code == 422
    assert answer.context["wizard"].errors
    assert not Run.objects.exists()


def test_nobody_trains_on_data_they_have_no_right_to(
    client: Client, stranger: User, private_version: Version, base: BaseModel
) -> None:
    client.force_login(stranger)
    assert client.post(START, choices(private_version, base)).status_code == 422
    page = client.get(NEW, choices(private_version, base, step="data"))
    assert "Birds, version 1" not in page.content.decode()


def test_a_sixth_unfinished_run_has_to_wait(
    client: Client, builder: User, version: Version, base: BaseModel
) -> None:
    client.force_login(builder)
    codes = [client.post(START, choices(version, base)).status_code for _ in range(6)]
    assert codes == [302] * 5 + [429]


def test_the_data_step_asks_a_fixed_number_of_questions(
    client: Client, builder: User, version: Version, django_assert_max_num_queries: Any
) -> None:
    client.force_login(builder)
    with django_assert_max_num_queries(6):
        client.get(NEW, {"name": "Birds", "step": "data"})
