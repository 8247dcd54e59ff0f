"""A model whose builder lost the right to its data stops answering, in the middle of a word."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from datanets.models import Datanet, Membership
from datanets.services import remove_member
from marketplace.models import Inference
from marketplace.services import stream_answer
from marketplace.tests.conftest import TOKEN
from modelfactory.models import Model
from modelfactory.services import RightToServeEnded
from openledger_site.accounts.models import User
from rewards.models import Hold
from rewards.services import spendable_wei

pytestmark = pytest.mark.django_db
Revoke = Callable[[], None]


@pytest.fixture
def revoke(model: Model, owner: User, builder: User) -> Revoke:
    """The builder trains without reading, as a member; calling this removes them."""
    datanet = Datanet.objects.get()
    Datanet.objects.update(visibility="private")
    member = Membership.objects.create(datanet=datanet, user=builder, role="trainer")
    return lambda: remove_member(datanet=datanet, actor=owner, membership_id=member.pk)


def test_chat_and_api_refuse_in_words_and_hold_nothing(
    model: Model, payer: User, secret: str, revoke: Revoke, as_user: Callable[[User], Client]
) -> None:
    revoke()
    before = spendable_wei(payer)
    chat = as_user(payer).post(reverse("marketplace:chat", args=[model.slug]), {"prompt": "Hi"})
    body = {"model": model.slug, "messages": [{"role": "user", "content": "Hi"}]}
    api = Client(headers={"authorization": f"Bearer {secret}"}).post(
        reverse("v1:chat-completions"), body, "application/json"
    )
    assert (chat.status_code, api.status_code) == (403, 403)
    assert api.json()["error"]["code"] == "no_right_to_serve"
    assert spendable_wei(payer) == before
    assert not Inference.objects.exists()


def answer_until(inference: Inference, happens: Callable[[], object]) -> list[str]:
    """What was heard; `happens` right after the first event."""
    heard: list[str] = []

    async def listen() -> None:
        async for event in stream_answer(inference):
            heard.append(event.text_delta)
            if len(heard) == 1:
                await sync_to_async(happens)()

    with pytest.raises(RightToServeEnded):
        async_to_sync(listen)()
    return heard


@pytest.mark.parametrize("whose", ["builder", "consumer"])
def test_an_answer_that_is_going_stops_and_is_free(
    ask: Callable[..., Inference], payer: User, revoke: Revoke, engine_url: str,
    settings: Settings, monkeypatch: pytest.MonkeyPatch, whose: str,
) -> None:  # fmt: skip
    settings.ENGINE_URL, settings.ENGINE_TOKEN = engine_url, TOKEN
    monkeypatch.setattr(sys.modules[stream_answer.__module__], "CHECK_SECONDS", 0.0)
    reader = Membership.objects.create(datanet=Datanet.objects.get(), user=payer, role="reader")
    inference = ask("What is known about the tern?")
    heard = answer_until(inference, revoke if whose == "builder" else reader.delete)
    assert len(heard) == 1
    inference.refresh_from_db()
    assert (inference.state, inference.answer, inference.fee_wei) == ("failed", "", 0)
    assert inference.error_code == "no_right_to_serve"
    assert Hold.objects.get().state == "voided"
