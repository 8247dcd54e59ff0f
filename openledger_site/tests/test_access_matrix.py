"""Route by method by person, for every address that names a thing of the product.

The table holds what each of nine people gets; a route that is not in it fails the tests. And no
answer to anybody, refusals and exports included, holds a word of a row that they may not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from openledger_site.accounts.services import create_api_key
from openledger_site.tests.conftest import Thread

pytestmark = pytest.mark.django_db
SPACES = ("datanets", "modelfactory", "marketplace", "rewards", "v1")
PEOPLE = {
    "anonymous": "", "stranger": "Sam", "contributor": "Carla", "reader": "Rita",
    "trainer": "Bo", "curator": "Rene", "owner": "Olive", "staff": "Stella", "revoked": "Vic",
}  # fmt: skip
# The trainer has built the run and the model, and has paid for the answer.
TABLE = (Path(__file__).parent / "access_matrix.txt").read_text()
OTHER_METHODS = ("PUT", "PATCH", "DELETE")
# Words of rows, and who may read them.
CANARIES = {
    "Read beyond end of file": {"contributor", "reader", "curator", "owner"},
    "seen in the mine": {"contributor", "curator", "owner"},
    "canary yellow": {"contributor", "curator", "owner"},
    "half a mine": {"contributor"},  # the name of a file on its way in
}


@dataclass(frozen=True)
class Line:
    """A line of the table: what each person gets by `method`."""

    route: str
    method: str
    things: tuple[str, ...]
    statuses: dict[str, int]


def parse(table: str) -> list[Line]:
    lines = []
    for text in table.splitlines()[1:]:
        route, method, *rest = text.split()
        things, statuses = rest[: -len(PEOPLE)], rest[-len(PEOPLE) :]
        lines.append(
            Line(route, method, tuple(things), dict(zip(PEOPLE, map(int, statuses), strict=True)))
        )
    return lines


LINES = parse(TABLE)
# Few routes know more than GET and POST; what they answer to the others stands in the table too.
LISTED = {(line.route, line.method) for line in LINES}


def routes(resolver: URLResolver, spaces: tuple[str, ...] = ()) -> Iterator[tuple[str, bool]]:
    """(name, whether its address names a thing) of every route."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = (pattern.namespace,) if pattern.namespace else ()
            yield from routes(pattern, (*spaces, *inner))
        else:
            yield ":".join((*spaces, str(pattern.name))), bool(pattern.pattern.converters)


NAMES = sorted(
    (name, names_a_thing)
    for name, names_a_thing in set(routes(get_resolver()))
    if name.split(":")[0] in SPACES
)


def test_every_route_that_names_a_thing_is_in_the_table() -> None:
    wanted = {(name, method) for name, thing in NAMES if thing for method in ("GET", "POST")}
    assert {one for one in LISTED if one[1] in ("GET", "POST")} == wanted


def path_of(line: Line, thread: Thread) -> str:
    found = []
    for thing in line.things:
        value: Any = thread.things
        for name in thing.split("."):
            value = getattr(value, name)
        found.append(value)
    return reverse(line.route, args=found)


def client_of(person: str, route: str, thread: Thread) -> Client:
    """Signed in, or with a key of theirs where a route wants one."""
    if not PEOPLE[person]:
        return Client()
    headers = {"tus-resumable": "1.0.0"} if "upload" in route else {}
    user = thread.people[PEOPLE[person]]
    if route.startswith("v1:"):
        _, secret = create_api_key(user, name="m", scopes=["inference", "data"])
        return Client(headers={"authorization": f"Bearer {secret}"})
    client = Client(headers=headers)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def knock(person: str, method: str, line: Line, thread: Thread) -> tuple[int, bytes]:
    """Status and body; whatever the request did is undone."""
    with transaction.atomic():
        answer = client_of(person, line.route, thread).generic(method, path_of(line, thread))
        body = b"".join(answer) if answer.streaming else answer.content
        transaction.set_rollback(True)
    return answer.status_code, body


def leaks(person: str, body: bytes) -> list[str]:
    return [c for c, readers in CANARIES.items() if person not in readers and c.encode() in body]


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.route} {line.method}")
def test_everybody_gets_what_the_table_says_and_no_word_more(thread: Thread, line: Line) -> None:
    answers = {person: knock(person, line.method, line, thread) for person in PEOPLE}
    assert {person: status for person, (status, _) in answers.items()} == line.statuses
    assert not {p: found for p, (_, body) in answers.items() if (found := leaks(p, body))}


@pytest.mark.parametrize("line", [line for line in LINES if line.method == "GET"],
                         ids=lambda line: line.route)  # fmt: skip
def test_no_route_knows_any_other_method(thread: Thread, line: Line) -> None:
    for method in [one for one in OTHER_METHODS if (line.route, one) not in LISTED]:
        for person in PEOPLE:
            status, body = knock(person, method, line, thread)
            assert status == 405 or (person == "anonymous" and status in (302, 401)), person
            assert not leaks(person, body)


@pytest.mark.parametrize("name", [name for name, thing in NAMES if not thing])
def test_no_page_about_everything_holds_a_word_of_a_row(thread: Thread, name: str) -> None:
    line = Line(name, "GET", (), {})
    for person in PEOPLE:
        for query in (
            "",
            "?search=end+of&q=end+of&version=" + str(thread.things.version.public_id),
        ):
            with transaction.atomic():
                answer = client_of(person, name, thread).get(path_of(line, thread) + query)
                body = b"".join(answer) if answer.streaming else answer.content
                transaction.set_rollback(True)
            assert not leaks(person, body), person


def test_the_canaries_are_alive(thread: Thread) -> None:
    """A search for words that nobody shows proves nothing: those who may read do see them."""
    seen = {
        (canary, person)
        for person in PEOPLE
        for line in LINES
        if line.method == "GET" and line.route.startswith("datanets:")
        for canary in CANARIES
        if canary.encode() in knock(person, "GET", line, thread)[1]
    }
    assert seen >= {("Read beyond end of file", p) for p in ("reader", "owner")}
    assert ("seen in the mine", "curator") in seen
    cells = len(PEOPLE) * (len(LINES) + len(OTHER_METHODS) * len(LINES) // 2)
    print(f"\naccess matrix: {cells} cells over {len(LINES) // 2} routes")
