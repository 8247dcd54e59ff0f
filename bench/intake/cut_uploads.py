"""Send files in parts while connections are cut and the server is killed, and compare what arrived.

A cut ends the connection somewhere inside a part. A kill is SIGKILL somewhere between the first
byte of a part and a moment after its last, so also between the bytes on disk and the commit.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.intake.site import Site

PART_BYTES = 256 * 1024
PARTS_BETWEEN_FAULTS = 2
KILL_WITHIN_SECONDS = 0.06
ANSWER_SECONDS = 30
PART_TYPE = "application/offset+octet-stream"
# What a client meets when its server dies or its own line is cut.
LOST = (OSError, http.client.HTTPException)


@dataclass
class Sender:
    """A client that trusts nothing but what the server says it holds."""

    site: Site
    content: bytes
    drawn: random.Random
    url: str = ""
    kills: int = 0
    cuts: int = 0

    def begin(self) -> None:
        name = base64.b64encode(b"cut.txt").decode()
        headers = {"Upload-Length": str(len(self.content)), "Upload-Metadata": f"filename {name}"}
        path = f"/datanets/api/datanets/{self.site.slug}/uploads/"
        status, answer = self._ask("POST", path, headers)
        if status != 201:
            raise RuntimeError(f"The upload could not begin: {status}")
        self.url = answer["location"]

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.site.secret}", "Tus-Resumable": "1.0.0", **more}

    def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body, self._headers(headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def state(self) -> dict[str, str]:
        status, answer = self._ask("HEAD", self.url, {})
        if status != 200:
            raise RuntimeError(f"The upload is lost: {status}")
        return answer

    def _part(self, offset: int) -> tuple[dict[str, str], bytes]:
        part = self.content[offset : offset + self.drawn.randint(1, 2 * PART_BYTES)]
        return {"Content-Type": PART_TYPE, "Upload-Offset": str(offset)}, part

    def send(self, offset: int) -> None:
        """A whole part. 423: the last one, of a line that was cut, is still being written."""
        headers, part = self._part(offset)
        status, _ = self._ask("PATCH", self.url, headers, part)
        if status == 423:
            time.sleep(0.05)
        elif status not in (204, 409):
            raise RuntimeError(f"A part was refused: {status}")

    def cut(self, offset: int) -> None:
        """Close the line after some of the part."""
        headers, part = self._part(offset)
        self.cuts += 1
        lines = [f"PATCH {self.url} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(part)}"]
        lines += [f"{name}: {value}" for name, value in self._headers(headers).items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        whole = head + part
        with socket.create_connection(
            ("127.0.0.1", self.site.port), timeout=ANSWER_SECONDS
        ) as line:
            line.sendall(whole[: self.drawn.randrange(len(head), len(whole))])

    def kill(self, offset: int) -> None:
        """SIGKILL the server while it takes a part, then start it again."""
        headers, part = self._part(offset)
        self.kills += 1
        after = threading.Timer(self.drawn.random() * KILL_WITHIN_SECONDS, self.site.kill)
        after.start()
        with suppress(*LOST):
            self._ask("PATCH", self.url, headers, part)
        after.join()
        self.site.start()


def send_through_faults(site: Site, faults: int, seed: int) -> dict[str, Any]:
    """One file with so many faults in its way, kills and cuts by turns at random."""
    drawn = random.Random(seed)
    content = drawn.randbytes((faults + 1) * PARTS_BETWEEN_FAULTS * PART_BYTES)
    sender = Sender(site, content, drawn)
    sender.begin()
    due = faults
    while "upload-digest" not in (state := sender.state()):
        offset = int(state["upload-offset"])
        left = len(content) - offset
        # The nearer the end, the surer the next fault: all of them have to happen.
        if due and drawn.random() < due * 2 * PART_BYTES / max(1, left - 2 * PART_BYTES):
            due -= 1
            (sender.kill if drawn.random() < 0.5 else sender.cut)(offset)
        else:
            sender.send(offset)
    same = state["upload-digest"] == hashlib.sha256(content).hexdigest()
    return {"kills": sender.kills, "cuts": sender.cuts, "same": same and not due}
