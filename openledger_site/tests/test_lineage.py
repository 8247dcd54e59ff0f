"""From a Datanet to what learnt from it and what that earned: only what the reader may see."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from datanets.models import Datanet
from marketplace.models import AnswerShare
from modelfactory.models import Model

pytestmark = pytest.mark.django_db


def panel(name: str, thread, person: str = "") -> str:
    client = Client()
    if person:
        backend = "django.contrib.auth.backends.ModelBackend"
        client.force_login(thread.people[person], backend=backend)
    path = reverse(f"marketplace:{name}", args=[thread.things.datanet.slug])
    answer = client.get(path, headers={"hx-request": "true"})
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_builder_sees_their_private_model_under_its_version(thread):
    shown = panel("datanet-lineage", thread, "Bo")
    assert thread.things.version.get_absolute_url() in shown
    assert "secret-errors" in shown
    assert "1 paid answer" in shown


def test_others_see_no_private_model_and_not_what_it_earned(thread):
    Datanet.objects.update(visibility="public")
    for person in ("", "Sam", "Carla"):
        assert "secret-errors" not in panel("datanet-lineage", thread, person)
        assert "Nothing yet" in panel("datanet-earned", thread, person)


def test_what_a_row_has_earned_is_the_mean_of_what_was_paid(thread):
    Model.objects.update(visibility="public")
    AnswerShare.objects.create(
        inference=thread.things.inference, contributor=thread.people["Carla"],
        parts=1_000_000_000, amount_wei=6 * 10**18,
    )  # fmt: skip
    shown = panel("datanet-earned", thread, "Carla")
    assert "1 paid answer" in shown
    assert f'value="{6 * 10**18}"' in shown


def test_without_a_script_it_is_a_page(thread):
    path = reverse("marketplace:datanet-lineage", args=[thread.things.datanet.slug])
    Datanet.objects.update(visibility="public")
    assert b"<!doctype html>" in Client().get(path).content
