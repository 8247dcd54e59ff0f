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
