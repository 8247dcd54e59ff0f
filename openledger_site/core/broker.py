"""kombu's filesystem transport, with messages that appear whole or not at all.

As shipped, a reader can open a message (or an exchange's table) that its writer has created but
not yet written; the empty text is not JSON and ends the worker. Here a file is written under a
name that no reader looks at, and renamed. The one who renames a message away owns it.
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps, loads

NAME = "filesystem"


class Channel(filesystem.Channel):
    """A folder of messages, `<milliseconds>_<id>.<queue>.msg`; the oldest is taken first."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override] # stub
        name = f"{time.time_ns() // 1_000_000:015d}_{uuid.uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, dumps(payload))

    def _get(self, queue: str) -> Any:  # type: ignore[override] # the stub asks for a timeout nobody gives
        folder = Path(self.data_folder_in)
        for name in sorted(os.listdir(folder)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f".taken-{secrets.token_hex(8)}"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:
                continue  # another worker was faster
            payload = loads(taken.read_text())
            taken.unlink()
            return payload
        raise Empty

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None
    ) -> None:
        value = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        bound = self.get_table(exchange)
        if value not in bound:
            file: Path = self._exchange_file(exchange)  # type: ignore[attr-defined] # newer than the stub
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(file, dumps([value, *bound]))


class Transport(filesystem.Transport):
    Channel = Channel


def use_whole_files() -> None:
    """Make `filesystem://` mean this transport."""
    TRANSPORT_ALIASES[NAME] = "openledger_site.core.broker:Transport"


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".new-{secrets.token_hex(8)}")
    temporary.write_text(text)
    temporary.replace(path)
