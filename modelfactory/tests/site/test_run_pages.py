"""The page of a run: progress, stop, resume, retry, verdict."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction
from django.test import Client

from datanets.models import Datanet, SecondLook
from modelfactory.models import Run
from modelfactory.tests.site.conftest import settle
from openledger_site.accounts.models import User
from openledger_site.core.models import Job, JobEvent

PAGES = ["", "progress/", "publish/"]
POSTS = ["stop/", "resume/", "retry/", "doubt/"]


def address(run: Run, tail: str = "") -> str:
    return f"/factory/runs/{run.public_id}/{tail}"


def set_state(run: Run, state: str, **fields: Any) -> None:
    Job.objects.filter(pk=run.job.pk).update(state=state, lease_until=None, **fields)  # type: ignore[union-attr]


@pytest.mark.parametrize("tail", PAGES + POSTS)
def test_anonymous_visitors_are_sent_to_sign_in(client: Client, run: Run, tail: str) -> None:
    answer = client.post(address(run, tail)) if tail in POSTS else client.get(address(run, tail))
    assert answer["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("tail", PAGES + POSTS)
def test_strangers_get_404(client: Client, stranger: User, run: Run, tail: str) -> None:
    client.force_login(stranger)
    method = client.post if tail in POSTS else client.get
    assert method(address(run, tail)).status_code == 404


def test_contributors_of_the_data_do_not_see_the_run(
    client: Client, contributor: User, run: Run
) -> None:
    client.force_login(contributor)
    assert client.get(address(run)).status_code == 404


def test_a_missing_run_is_404(client: Client, builder: User) -> None:
    client.force_login(builder)
    assert client.get(f"/factory/runs/{uuid4()}/").status_code == 404


@pytest.mark.parametrize("tail", POSTS)
def test_actions_are_posts(client: Client, builder: User, run: Run, tail: str) -> None:
    client.force_login(builder)
    assert client.get(address(run, tail)).status_code == 405


def test_a_queued_run_follows_its_job_live_and_can_be_stopped(
    client: Client, builder: User, run: Run
) -> None:
    client.force_login(builder)
    page = client.get(address(run)).content.decode()
    assert f'data-live="/ws/jobs/{run.job.pk}/"' in page  # type: ignore[union-attr]
    assert "Waiting for the trainer." in page
    assert "data-live-done" not in page
    assert client.post(address(run, "stop/"))["Location"] == address(run)
    assert Run.objects.get().state == "cancelled"


def test_the_live_part_is_a_fragment_with_figures_and_curve(
    client: Client, builder: User, run: Run
) -> None:
    assert run.job is not None
    for step, loss in ((1, 3.5), (2, 2.25), (2, 2.25)):
        JobEvent.objects.create(
            job=run.job, attempt=1, kind="step", data={"step": step, "steps": 9, "loss": loss}
        )
    client.force_login(builder)
    part = client.get(address(run, "progress/"), headers={"HX-Request": "true"})
    text = part.content.decode()
    assert "<html" not in text
    assert "2.250" in text
    assert part.context["series"][0]["points"] == [(1, 3.5), (2, 2.25)]


def test_a_failed_run_says_why_and_offers_a_safer_one(
    client: Client, builder: User, run: Run
) -> None:
    set_state(run, "failed", message="The machine ran out of memory.")
    client.force_login(builder)
    page = client.get(address(run)).content.decode()
    assert "The machine ran out of memory." in page
    assert "data-live-done" in page
    answer = client.post(address(run, "retry/"), {"idempotency_key": "r"})
    safer = Run.objects.exclude(pk=run.pk).get()
    assert answer["Location"] == address(safer)
    assert safer.recipe["batch_size"] == run.recipe["batch_size"] // 2
    assert (safer.cloned_from, safer.seed) == (run, run.seed)


def test_a_stopped_run_can_be_resumed_once(client: Client, builder: User, run: Run) -> None:
    set_state(run, "cancelled")
    client.force_login(builder)
    assert client.post(address(run, "resume/"), {"idempotency_key": "a"}).status_code == 302
    again = Run.objects.select_related("job").get()
    assert (again.state, again.job != run.job) == ("queued", True)
    assert client.post(address(run, "resume/"), {"idempotency_key": "b"}).status_code == 409


def test_a_settled_run_shows_its_verdict_and_its_questions(
    client: Client, builder: User, settled_run: Run
) -> None:
    client.force_login(builder)
    page = client.get(address(settled_run)).content.decode()
    assert "<strong>2 of 3</strong>" in page
    assert "Wren, weight?" in page
    assert address(settled_run, "publish/") in page


def test_what_a_run_answers_wrongly_goes_to_the_curators_once(
    client: Client, builder: User, settled_run: Run
) -> None:
    client.force_login(builder)
    for _ in range(2):
        client.post(address(settled_run, "doubt/"))
    look = SecondLook.objects.get()
    assert (look.source, look.opened_by) == ("evaluation", builder)
    assert "“Birds”" in look.note


def test_nobody_asks_about_rows_that_they_may_not_read(
    client: Client, builder: User, settled_run: Run
) -> None:
    Datanet.objects.update(visibility="restricted")
    client.force_login(builder)
    client.post(address(settled_run, "doubt/"))
    assert not SecondLook.objects.exists()


def test_a_run_that_did_not_help_says_so(client: Client, builder: User, run: Run) -> None:
    settle(run)
    run.evaluation_results.update(tuned_correct=False)
    client.force_login(builder)
    assert "Tuning did not help" in client.get(address(run)).content.decode()


def test_questions_are_hidden_from_who_may_train_but_not_read(
    client: Client, builder: User, settled_run: Run
) -> None:
    datanet = settled_run.version.datanet
    datanet.visibility = "private"
    datanet.save()
    datanet.memberships.create(user=builder, role="trainer")
    client.force_login(builder)
    page = client.get(address(settled_run)).content.decode()
    assert "Wren, weight?" not in page
    assert "hidden" in page


def test_the_list_asks_a_fixed_number_of_questions(
    client: Client, builder: User, run: Run, django_assert_max_num_queries: Any
) -> None:
    client.force_login(builder)
    with django_assert_max_num_queries(5):
        page = client.get("/factory/")
    assert "Birds" in page.content.decode()


def test_a_new_builder_is_shown_the_way(client: Client, builder: User) -> None:
    client.force_login(builder)
    assert "Start the first run" in client.get("/factory/").content.decode()


@pytest.mark.parametrize("change", [{"recipe": {"rank": 99}}, {"seed": 99}, {"effort": "thorough"}])
def test_the_database_refuses_another_recipe(run: Run, change: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(**change)


@pytest.mark.parametrize(
    "change", [{"adapter_digest": "f" * 64}, {"metrics": {"steps": 1}}, {"settled_at": None}]
)
def test_the_database_refuses_another_result(settled_run: Run, change: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
        Run.objects.filter(pk=settled_run.pk).update(**change)
