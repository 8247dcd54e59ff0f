"""Downloads that are made while they are read, also where Django answers asynchronously.

Its own streaming response turns an ordinary iterator into a list there, the whole download at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.http import FileResponse, StreamingHttpResponse

PARTS_AT_ONCE = 256
"""Going over to the thread that reads costs more than most parts do."""


class _InPieces:
    streaming_content: Any

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = iter(self.streaming_content)
        pull = sync_to_async(lambda: list(islice(parts, PARTS_AT_ONCE)))
        while piece := await pull():
            yield b"".join(piece)


class StreamedResponse(_InPieces, StreamingHttpResponse):
    """A `StreamingHttpResponse` of an ordinary iterator."""


class StreamedFile(_InPieces, FileResponse):
    """A `FileResponse`."""
