"""A backup holds all of the site but its secrets, and a site made from it is the same site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings as site_settings
from django.db import connection

from datanets.models import Datanet, Record
from datanets.services import cut_version
from datanets.tests.conftest import Give, approve_all
from openledger_site.accounts.models import User
from openledger_site.core.backup import BackupRefused, back_up, restore
from openledger_site.core.backup.tools import path_of
from openledger_site.core.row_security import WEB_ROLE
from rewards.models import Account
from rewards.services.ledger import post, system_account, user_account

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "Nobody but us may know of it."
ROWS = [{"instruction": f"What is code {n}?", "response": f"{SECRET} {n}"} for n in range(3)]


@dataclass(frozen=True)
class Place:
    """An empty database, a folder for its site, and what a command needs to run there."""

    url: str
    folder: Path

    def run(self, *command: str) -> str:
        environment = {
            "DATABASE_URL": self.url,
            "OPENLEDGER_LOCAL_DIR": str(self.folder),
            "DATA_KEYS": site_settings.DATA_KEYS[0],
        }
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=site_settings.BASE_DIR,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, query: str, role: str = "") -> list[Any]:
        with psycopg.connect(self.url) as other:
            if role:
                other.execute(f"SET ROLE {role}".encode())
            return other.execute(query.encode()).fetchall()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Place]:
    name = f"restored_{uuid.uuid4().hex[:8]}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    url = urlsplit(site_settings.DATABASE_URL)
    try:
        yield Place(url._replace(path=f"/{name}").geturl(), tmp_path / "elsewhere")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def site(
    private: Datanet, owner: User, contributor: User, give: Give, settings: Any, tmp_path: Path
) -> Path:
    """Private rows in a version, a kept file, money in the books; the path of a backup of it."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "chain" / "addresses.json"
    settings.CHAIN_ADDRESSES_FILE.parent.mkdir()
    settings.CHAIN_ADDRESSES_FILE.write_text("{}")
    give(private, contributor, "".join(json.dumps(row) + "\n" for row in ROWS).encode())
    approve_all(private, owner)
    cut_version(datanet=private, actor=owner)
    spendable = user_account(owner, Account.Kind.SPENDABLE)
    post(
        key="a deposit",
        kind="deposit",
        legs=[(system_account(Account.Kind.CUSTODY), -7), (spendable, 7)],
        reason="Deposit",
    )
    folder = tmp_path / "backup"
    back_up(folder)
    return folder


def counts(ask: Any) -> dict[str, int]:
    names = ask("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
    counted = (f"SELECT '{name}', count(*) FROM {name}" for (name,) in names)  # noqa: S608 # quoted by PostgreSQL
    return dict(ask(" UNION ALL ".join(counted)))


def ask_here(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


LOOK = """
from django.core.management import call_command
from datanets.models import Record
call_command("migrate", check_unapplied=True)
call_command("verify_audit")
print(Record.objects.first().response)
"""


def test_a_restored_site_has_every_row_and_keeps_its_guards(site: Path, elsewhere: Place) -> None:
    elsewhere.run("restore", str(site))
    assert counts(elsewhere.ask) == counts(ask_here)
    assert SECRET in elsewhere.run("shell", "--no-imports", "-c", LOOK)
    kept = {path.name for path in (elsewhere.folder / "media").rglob("*") if path.is_file()}
    assert kept == {path.name for path in (site / "media").rglob("*") if path.is_file()} != set()

    with pytest.raises(psycopg.Error, match="append-only"):
        elsewhere.ask("UPDATE rewards_entry SET amount_wei = 8 RETURNING 1")
    assert elsewhere.ask("SELECT count(*) FROM datanets_record", role=WEB_ROLE) == [(0,)]


def test_the_folder_alone_opens_no_private_row(site: Path) -> None:
    assert Record.objects.first().response.startswith(SECRET)  # type: ignore[union-attr] # there are three
    unpack = [path_of("pg_restore"), "--file", "-", str(site / "database.dump")]
    dump = subprocess.run(unpack, check=True, capture_output=True).stdout
    assert b"Private errors" in dump
    kept = [path.read_bytes() for path in site.rglob("*") if path.is_file()]
    for secret in (SECRET, site_settings.DATA_KEYS[0]):
        assert not [content for content in (dump, *kept) if secret.encode() in content]


def test_nothing_is_restored_over_a_site_that_has_tables(site: Path) -> None:
    with pytest.raises(BackupRefused, match="The database has tables"):
        restore(site)


def test_what_cannot_be_restored_is_refused_in_words(site: Path, settings: Any) -> None:
    """Before the database is asked at all."""
    changed = site / "chain" / "addresses.json"
    changed.write_text("{ }")
    with pytest.raises(BackupRefused, match=r"chain/addresses\.json is missing or was changed"):
        restore(site)
    changed.write_text("{}")

    settings.DATA_KEYS, right = ["ab" * 32], settings.DATA_KEYS
    with pytest.raises(BackupRefused, match="DATA_KEYS is not the secret"):
        restore(site)
    settings.DATA_KEYS = ["ab" * 32, *right]  # a newer one stands before it
    with pytest.raises(BackupRefused, match="has tables"):
        restore(site)

    manifest = json.loads((site / "manifest.json").read_text())
    manifest["migrations"].append("rewards.9999_of_tomorrow")
    (site / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BackupRefused, match=r"rewards\.9999_of_tomorrow"):
        restore(site)
    (site / "manifest.json").unlink()
    with pytest.raises(BackupRefused, match="no whole backup"):
        restore(site)


def test_a_backup_that_stops_leaves_nothing_and_one_that_is_there_stays(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (site / "manifest.json").read_bytes()
    with pytest.raises(BackupRefused, match="exists"):
        back_up(site)
    assert (site / "manifest.json").read_bytes() == before

    monkeypatch.setenv("PGOPTIONS", f"-c role={WEB_ROLE}")  # who may not see all rows
    with pytest.raises(BackupRefused, match="row-level security"):
        back_up(tmp_path / "second")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("second")]
