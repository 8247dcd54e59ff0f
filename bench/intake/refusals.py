"""Send every bad file to the live site, as a program would, and note what it answers."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from bench.intake.bad_files import BAD_FILES, BadFile
from bench.intake.prepare import LICENCE
from bench.intake.site import Site

CLIENTS = 2
ANSWER_SECONDS = 120


@dataclass(frozen=True)
class Answer:
    """`clear` is true for a 4xx that says what is wrong, where, and by which code."""

    name: str
    seed: int
    status: int
    clear: bool
    said: str
    seconds: float


def send_bad_files(site: Site, seeds: int) -> dict[str, Any]:
    """Every class with so many seeds; figures, and whatever was not a clear refusal."""
    wanted = [(one, seed) for one in BAD_FILES for seed in range(seeds)]
    with site.watched(), ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda pair: _send(site, *pair), wanted))
    return {
        "bad_files": len(answers),
        "bad_file_classes": len(BAD_FILES),
        "bad_files_5xx": sum(one.status >= 500 for one in answers),
        "bad_files_accepted": sum(one.status < 400 for one in answers),
        "bad_files_unclear": [
            f"{one.name}, seed {one.seed}: {one.status} {one.said[:120]}"
            for one in answers
            if not one.clear
        ],
        "bad_files_statuses": dict(Counter(str(one.status) for one in answers).most_common()),
        "bad_files_slowest_seconds": round(max(one.seconds for one in answers), 1),
        "bad_files_peak_mb": {name: round(peak) for name, peak in site.peaks_mb.items()},
    }


def _send(site: Site, bad: BadFile, seed: int) -> Answer:
    boundary = uuid.uuid4().hex
    body = _form(boundary, {"licence": LICENCE, "agree": "on"}, bad, bad.content(seed))
    started = time.monotonic()
    connection = HTTPConnection("127.0.0.1", site.port, timeout=ANSWER_SECONDS)
    try:
        path = f"/datanets/api/datanets/{site.slug}/contributions/"
        headers = {
            "Authorization": f"Bearer {site.secret}",
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        }
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    finally:
        connection.close()
    seconds = time.monotonic() - started
    clear = 400 <= answer.status < 500 and _says_all(said)
    return Answer(bad.name, seed, answer.status, clear, said, seconds)


def _says_all(said: str) -> bool:
    try:
        error = json.loads(said)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return all(error.get(name) for name in ("code", "message", "where"))


def _form(boundary: str, fields: dict[str, str], bad: BadFile, content: bytes) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    file = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{bad.filename}"'
        "\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    return "".join([*parts, file]).encode() + content + f"\r\n--{boundary}--\r\n".encode()
