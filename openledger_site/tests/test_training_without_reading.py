"""Bo may train on a private Datanet and read no row of it: nothing shows Bo a word of one."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from datanets.models import Record
from marketplace.models import Agent, Inference
from marketplace.services.gather_evidence import find_verbatim
from marketplace.services.stream_answer import _open_book
from modelfactory.models import Model
from modelfactory.services import train_run
from modelfactory.services.plan import make_plan
from openledger_site.core.models import AuditEntry, JobEvent
from openledger_site.tests.conftest import PENDING_ROW, ROWS, Thread

pytestmark = pytest.mark.django_db
# Bo asked about KeyError in these words, so its question is no secret of the rows.
WORDS = [ROWS[0]["answer"], *ROWS[1].values(), *PENDING_ROW.values()]
NAME = "Secret errors"


def assert_no_row(text: str, where: object = "") -> None:
    assert not [words for words in WORDS if words.rstrip(".?") in text], where


@pytest.fixture
def bo(thread: Thread) -> Client:
    client = Client()
    client.force_login(thread.people["Bo"], backend="django.contrib.auth.backends.ModelBackend")
    return client


def recipe(thread: Thread) -> dict[str, Any]:
    version = thread.things.version.public_id
    return {"name": "Errors", "version": version, "base": "small", "effort": "quick"}


@pytest.mark.parametrize("step", ["goal", "data", "base", "effort", "plan"])
def test_the_wizard_shows_figures_and_no_example(thread: Thread, bo: Client, step: str) -> None:
    page = bo.get(reverse("modelfactory:run-new"), recipe(thread) | {"step": step})
    assert page.status_code == 200
    assert_no_row(page.content.decode())
    if step == "plan":
        assert b"without reading them" in page.content


def test_the_plan_of_a_reader_has_examples(thread: Thread) -> None:
    """Or the page above would show nothing whoever looked."""
    chosen = recipe(thread) | {"version": thread.things.version, "base": thread.things.run.base}
    assert make_plan(thread.people["Rita"], chosen).examples
    assert not make_plan(thread.people["Bo"], chosen).examples


@pytest.mark.parametrize("name", ["run-detail", "run-progress"])
def test_held_out_questions_are_marked_and_not_shown(thread: Thread, bo: Client, name: str) -> None:
    run = thread.things.settled_run
    assert run.evaluation_results.count() == len(ROWS)
    page = bo.get(reverse(f"modelfactory:{name}", args=[run.public_id])).content.decode()
    assert "hidden" in page
    assert_no_row(page)


def test_a_refusal_of_the_trainer_is_told_in_fixed_words() -> None:
    quoting = {"event": "failed", "error": "RecipeError", "message": ROWS[0]["answer"]}
    for error in ("RecipeError", "SomethingNew"):
        failure = train_run.__globals__["refusal"](quoting | {"error": error})
        assert_no_row(failure.message)


def test_events_of_jobs_and_the_audit_log_hold_no_words(thread: Thread) -> None:
    rows = [*JobEvent.objects.values_list("kind", "data"), *AuditEntry.objects.values_list("data")]
    assert rows
    assert_no_row(json.dumps(rows, default=str, ensure_ascii=False))


@pytest.mark.parametrize("words", WORDS)
def test_no_search_finds_or_counts_rows(thread: Thread, bo: Client, words: str) -> None:
    """A hit, and a missing one, look the same: nobody learns by guessing."""
    datanet = thread.things.datanet
    for path in (datanet.get_absolute_url(), thread.things.version.get_absolute_url(),
                 reverse("datanets:datanet-list"), reverse("marketplace:browse")):  # fmt: skip
        pages = [bo.get(path, {"search": text}).content.decode() for text in (words, "zzzz")]
        hit, miss = (page.replace(words, "").replace("zzzz", "") for page in pages)
        assert _plain(hit, words) == _plain(miss, words), path


def _plain(page: str, words: str) -> list[str]:
    """The lines of a page that are neither tokens nor an echo of what was typed."""
    echo = (escape(words).lower(), "csrf", "search=", "idempotency_key")
    return [line for line in page.splitlines() if not any(m in line.lower() for m in echo)]


def test_receipts_tell_owner_and_figure_only(thread: Thread, bo: Client) -> None:
    inference = thread.things.inference
    for name in ("receipt", "receipt-download"):
        answer = bo.get(reverse(f"marketplace:{name}", args=[inference.public_id]))
        body = b"".join(answer) if answer.streaming else answer.content
        assert_no_row(body.decode(), name)


def test_a_recited_row_is_counted_and_its_place_not_told(thread: Thread) -> None:
    inference = Inference.objects.get(pk=thread.things.inference.pk)
    inference.answer = "It means: Mapping key not found, that is, Read beyond end of file."
    spans = find_verbatim(inference)
    assert spans
    assert {(span["start"], span["end"]) for span in spans} == {(None, None)}
    assert_no_row(json.dumps(spans))


def test_no_row_is_put_before_the_model_for_somebody_who_may_not_read_it(thread: Thread) -> None:
    inference = Inference.objects.get(pk=thread.things.inference.pk)
    with transaction.atomic():
        assert _open_book(inference) == []
        inference.consumer = thread.people["Rita"]
        assert any("Mapping key" in passage for passage in _open_book(inference))
        transaction.set_rollback(True)


def test_walking_through_all_of_it_logs_no_row(
    thread: Thread, bo: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        bo.get(reverse("modelfactory:run-new"), recipe(thread) | {"step": "plan"})
        bo.get(reverse("modelfactory:run-detail", args=[thread.things.settled_run.public_id]))
        for record in Record.objects.all():
            assert bo.get(record.get_absolute_url()).status_code == 404
    assert_no_row(caplog.text)


def test_a_suggested_card_does_not_name_the_private_datanet(thread: Thread, bo: Client) -> None:
    run = thread.things.unpublished_run
    page = bo.get(reverse("modelfactory:model-publish", args=[run.public_id])).content.decode()
    assert "rows of a private Datanet" in page


def test_a_public_model_does_not_name_it_to_strangers(thread: Thread) -> None:
    client = Client()
    with transaction.atomic():
        Model.objects.update(visibility="public")
        Agent.objects.update(name="Teller", summary="Tells.")  # its maker's own words named it
        paths = [reverse("modelfactory:model-detail", args=[thread.things.model.slug])]
        pages = [client.get(path) for path in [*paths, reverse("marketplace:browse")]]
        transaction.set_rollback(True)
    for page in pages:
        assert page.status_code == 200
        assert "a private Datanet" in page.content.decode()
        assert NAME not in page.content.decode()
        assert_no_row(page.content.decode())
