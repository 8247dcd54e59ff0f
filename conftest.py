"""The cast that every test shares."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import settings

from openledger_site.accounts.models import User


def pytest_configure() -> None:
    """Slow hashes protect people; a test makes up several and would wait a second for each.

    And no test may meet the contracts of a site that was run in this folder.
    """
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CHAIN_ADDRESSES_FILE = settings.LOCAL_DIR / "chain" / "addresses-of-tests.json"


# What shares something dear (a trained model, a chain, an engine) stays in one process. The folder
# that takes longest goes first, so that the processes end together.
TOGETHER = ("modelfactory/tests/site", "marketplace", "modelfactory/tests/training", "rewards")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Group tests for `pytest -n 2 --dist loadgroup`: some by folder, the others by file."""
    path = item.path.relative_to(item.config.rootpath).as_posix()
    group = next((folder for folder in TOGETHER if path.startswith(folder)), path)
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After pytest-randomly: the order inside a group is random, the dear groups go first."""
    rank = {group: at for at, group in enumerate(TOGETHER)}
    items.sort(key=lambda item: rank.get(_group(item), len(rank)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without their groups the tests still pass, and each process makes everything dear anew."""
    is_grouped = getattr(session.config.option, "loadgroup", False)
    if is_grouped and any(not one.nodeid.endswith(f"@{_group(one)}") for one in session.items):
        raise pytest.UsageError("pytest-xdist lost the groups of conftest.py: pin what it needs.")


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(name: str, **fields: object) -> User:
        return User.objects.create_user(
            email=f"{name}@example.org",
            password="correct horse 7 battery",
            display_name=name,
            **fields,
        )

    return make


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    return make_user("Olive")


@pytest.fixture
def contributor(make_user: Callable[..., User]) -> User:
    return make_user("Carla")


@pytest.fixture
def reviewer(make_user: Callable[..., User]) -> User:
    return make_user("Rene")


@pytest.fixture
def builder(make_user: Callable[..., User]) -> User:
    return make_user("Bo")


@pytest.fixture
def consumer(make_user: Callable[..., User]) -> User:
    return make_user("Quinn")


@pytest.fixture
def stranger(make_user: Callable[..., User]) -> User:
    return make_user("Sam")
