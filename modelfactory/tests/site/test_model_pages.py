"""Publishing a model, and its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.test import Client

from modelfactory.models import Model, Run
from modelfactory.pages import card_html
from modelfactory.services import price_wei
from openledger_site.accounts.models import User

MakeModel = Callable[..., Model]
FORM = {
    "name": "Bird book",
    "slug": "bird-book",
    "card": "Knows **birds**.",
    "visibility": "public",
    "price_prompt": "0.01",
    "price_completion": "0.02",
    "platform_fee": "0.0001",
}


def publish_url(run: Run) -> str:
    return f"/factory/runs/{run.public_id}/publish/"


def test_the_form_comes_filled_from_facts(client: Client, builder: User, settled_run: Run) -> None:
    client.force_login(builder)
    page = client.get(publish_url(settled_run)).content.decode()
    assert "67 % exactly right" in page
    assert 'value="birds"' in page


def test_publishing_stores_prices_in_wei_and_the_lineage(
    client: Client, builder: User, settled_run: Run
) -> None:
    client.force_login(builder)
    answer = client.post(publish_url(settled_run), FORM)
    model = Model.objects.get()
    assert answer["Location"] == "/factory/models/bird-book/"
    assert price_wei(model, 1000, 1000) == 3 * 10**16 + 10**14
    assert (model.owner, model.adapter_digest) == (builder, settled_run.adapter_digest)
    rows = [(line.contributor.name, line.row_count) for line in model.contributors.all()]
    assert rows == [("Carla", 3), ("Olive", 2)]


def test_the_same_key_twice_publishes_once(client: Client, builder: User, settled_run: Run) -> None:
    client.force_login(builder)
    for _ in range(2):
        client.post(publish_url(settled_run), FORM | {"idempotency_key": "p"})
    assert Model.objects.count() == 1


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"slug": "Big Bird!"}, {"price_prompt": "-1"}, {"platform_fee": "x"}]
)
def test_wrong_fields_are_said_and_nothing_is_published(
    client: Client, builder: User, settled_run: Run, wrong: dict[str, str]
) -> None:
    client.force_login(builder)
    assert client.post(publish_url(settled_run), FORM | wrong).status_code == 422
    assert not Model.objects.exists()


def test_an_unfinished_run_cannot_be_published(client: Client, builder: User, run: Run) -> None:
    client.force_login(builder)
    assert client.post(publish_url(run), FORM).status_code == 409


def test_a_taken_address_is_said(
    client: Client, builder: User, make_model: MakeModel, settled_run: Run
) -> None:
    make_model()
    client.force_login(builder)
    # Published already: the page leads to the model instead of making a second one.
    assert client.post(publish_url(settled_run), FORM)["Location"] == "/factory/models/birds/"


def test_a_public_model_is_seen_without_signing_in(client: Client, make_model: MakeModel) -> None:
    make_model()
    page = client.get("/factory/models/birds/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "/marketplace/models/birds/chat/" in text
    assert "Carla" in text


def test_a_private_model_is_404_for_everybody_but_its_owner(
    client: Client, builder: User, stranger: User, make_model: MakeModel
) -> None:
    make_model("private")
    assert client.get("/factory/models/birds/").status_code == 404
    client.force_login(stranger)
    assert client.get("/factory/models/birds/").status_code == 404
    client.force_login(builder)
    assert client.get("/factory/models/birds/").status_code == 200


def test_a_missing_model_is_404_and_a_page_is_only_read(client: Client, db: None) -> None:
    assert client.get("/factory/models/nothing/").status_code == 404
    assert client.post("/factory/models/nothing/").status_code == 405


def test_the_page_asks_a_fixed_number_of_questions(
    client: Client, make_model: MakeModel, django_assert_max_num_queries: Any
) -> None:
    make_model()
    with django_assert_max_num_queries(7):
        client.get("/factory/models/birds/")


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "[x](javascript:alert(1))",
        '<p style="position:fixed">x</p>',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_cards_hold_no_script_style_frame_or_remote_picture(hostile: str) -> None:
    html = card_html(hostile)
    for word in ("<script", "onerror", "javascript:", "style=", "<iframe", "<img"):
        assert word not in html


def test_the_database_refuses_another_adapter(make_model: MakeModel) -> None:
    model = make_model()
    with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
        Model.objects.filter(pk=model.pk).update(adapter_digest="f" * 64)
