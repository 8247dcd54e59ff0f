"""The socket of a job: a hint for its owner only, and only as long as that is so."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path

from openledger_site.accounts.models import User
from openledger_site.core.consumers import JobConsumer
from openledger_site.core.models import Job

# Channels closes connections between messages, so a test cannot live in one transaction.
pytestmark = pytest.mark.django_db(transaction=True)
ROUTES = URLRouter([path("ws/jobs/<uuid:job_id>/", JobConsumer.as_asgi())])


@pytest.fixture
def job(owner: User) -> Job:
    return Job.objects.create(kind="x", queue="x", subject="x", owner=owner)


async def open_socket(user: User, job: Job) -> ApplicationCommunicator:
    """A socket after its handshake."""
    scope = {"type": "websocket", "path": f"/ws/jobs/{job.pk}/", "user": user}
    socket = ApplicationCommunicator(ROUTES, scope)
    await socket.send_input({"type": "websocket.connect"})
    assert (await socket.receive_output())["type"] == "websocket.accept"
    return socket


def test_a_stranger_is_turned_away(job: Job, stranger: User) -> None:
    async def knock() -> Any:
        socket = await open_socket(stranger, job)
        return await socket.receive_output()

    assert async_to_sync(knock)()["code"] == 4404


def close_account(user: User, job: Job) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def give_away(user: User, job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(owner=None)


@pytest.mark.parametrize("ending", [close_account, give_away])
def test_an_open_socket_is_closed_at_the_first_hint_after_the_right_ended(
    job: Job, owner: User, ending: Any
) -> None:
    async def follow() -> Any:
        socket = await open_socket(owner, job)
        assert "changed" in (await socket.receive_output())["text"]
        await sync_to_async(ending)(owner, job)
        await get_channel_layer().group_send(f"job.{job.pk}", {"type": "changed"})
        return await socket.receive_output()

    assert async_to_sync(follow)()["code"] == 4404
