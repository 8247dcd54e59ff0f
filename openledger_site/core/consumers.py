"""WebSocket: tells a page that a job's rows changed. The page then fetches them."""

from __future__ import annotations

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.http import Http404

from openledger_site.core.jobs import job_for, job_for_now


class JobConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc] # channels ships no types
    """Follow one job that the signed-in user may see; close 4404 for anything else."""

    group: str | None = None

    async def connect(self) -> None:
        user, job_id = self.scope["user"], self.scope["url_route"]["kwargs"]["job_id"]
        try:
            await database_sync_to_async(job_for)(user, job_id)
        except Http404:
            await self.accept()
            await self.close(code=4404)
            return
        self.group = f"job.{job_id}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"type": "changed"})

    async def disconnect(self, code: int) -> None:
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def changed(self, event: dict[str, Any]) -> None:
        """Asked again each time: the job may have changed hands, the account may be closed."""
        user, job_id = self.scope["user"], self.scope["url_route"]["kwargs"]["job_id"]
        try:
            await database_sync_to_async(job_for_now)(user.pk, job_id)
        except Http404:
            await self.close(code=4404)
            return
        await self.send_json({"type": "changed"})
