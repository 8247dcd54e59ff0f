"""A Datanet with people in it, and real files going through the real sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from datanets.models import Contribution, Datanet, Membership, Record, Version
from datanets.services import Upload, create_datanet, cut_version, review_all, submit_contribution
from openledger_site.accounts.models import User, Wallet
from openledger_site.core.money import WEI_PER_OPEN as OPEN
from rewards.chain.staking import target_id
from rewards.models import StakePosition, StakeTarget

ROWS = [
    {"question": "What does ZeroDivisionError mean?", "answer": "The second argument was zero."},
    {"question": "What does KeyError mean?", "answer": "Mapping key not found."},
    {"question": "What does EOFError mean?", "answer": "Read beyond end of file."},
]

CHAIN, WALLET = 31337, "0x" + "Ab" * 20

Give = Callable[..., Contribution]


def jsonl(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(autouse=True)
def media(settings: object, tmp_path: Path) -> Path:
    """Every test has its own content store."""
    folder = tmp_path / "media"
    storages = {**settings.STORAGES}
    storages["default"] = {**storages["default"], "OPTIONS": {"location": str(folder)}}
    settings.MEDIA_ROOT, settings.STORAGES = folder, storages
    return folder


@pytest.fixture
def datanet(owner: User) -> Datanet:
    return make_datanet(owner, "Python errors", "public")


@pytest.fixture
def private(owner: User) -> Datanet:
    return make_datanet(owner, "Private errors", "private")


def make_datanet(owner: User, name: str, visibility: str) -> Datanet:
    return create_datanet(
        owner=owner,
        name=name,
        description="What Python's errors mean.",
        guidelines="One error a row.",
        visibility=visibility,
        licence="PSF-2.0",
    )


@pytest.fixture
def curator(datanet: Datanet, reviewer: User) -> User:
    Membership.objects.create(datanet=datanet, user=reviewer, role="curator")
    return reviewer


@pytest.fixture
def give(tmp_path: Path) -> Give:
    def submit(
        datanet: Datanet,
        contributor: User,
        content: bytes | None = None,
        filename: str = "rows.jsonl",
        **fields: object,
    ) -> Contribution:
        path = tmp_path / "upload"
        path.write_bytes(jsonl(ROWS) if content is None else content)
        terms = {"licence": "PSF-2.0", "agreed": True, **fields}
        upload = Upload(path, filename)
        return submit_contribution(datanet=datanet, contributor=contributor, upload=upload, **terms)

    return submit


@pytest.fixture
def pending(datanet: Datanet, contributor: User, give: Give) -> Contribution:
    return give(datanet, contributor)


def approve_all(datanet: Datanet, reviewer: User) -> None:
    review_all(records=Record.objects.all(), datanet=datanet, reviewer=reviewer, verdict="approve")


def staked(subject: str, amount_open: int, by: User | None = None) -> None:
    """As the watcher reads it; its path through the chain is tested in rewards."""
    shape = {"bonded_wei": amount_open * OPEN, "bonded_shares": amount_open * OPEN}
    target = target_id(subject)
    StakeTarget.objects.create(chain_id=CHAIN, target=target, subject=subject, **shape)
    if by is not None:
        Wallet.objects.create(user=by, address=WALLET, chain_id=CHAIN)
        StakePosition.objects.create(
            chain_id=CHAIN, target=target, account=WALLET, shares=amount_open * OPEN
        )


@pytest.fixture
def version(datanet: Datanet, pending: Contribution, owner: User) -> Version:
    approve_all(datanet, owner)
    return cut_version(datanet=datanet, actor=owner, note="The first")


@pytest.fixture
def as_user() -> Callable[[User], Client]:
    """A browser where this person is signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


@pytest.fixture
def measured() -> Callable[[Client, str], int]:
    """How many queries a page costs; the page must be there."""

    def count(client: Client, url: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url).status_code == 200
        return len(queries)

    return count
