"""Row-level security: whose eyes the database looks through while a request is answered.

The net under the selectors (decision 0033). A middleware names the request; before each statement
the connection (`core.database.base`) takes a role that PostgreSQL's policies apply to and tells it
who reads. Outside a request (workers, commands, the engine) nothing of this happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import connections
from django.http import HttpRequest
from django.utils.functional import empty

WEB_ROLE = "openledger_web"


@dataclass
class Reader:
    """Who is answered: the request's user as far as it is known by now, or who was named."""

    request: HttpRequest | None = None
    named: Any = None

    def key(self) -> str | None:
        """The user's key as text, "" for a person not signed in, None for staff in the admin."""
        user = self.named or self._known()
        if user is None or user.pk is None:
            return ""
        match = getattr(self.request, "resolver_match", None)
        if match is not None and match.app_name == "admin" and user.is_active and user.is_staff:
            return None
        return str(user.pk)

    def _known(self) -> Any:
        """Without asking for the user: that would itself be a query, and come back here."""
        found = vars(self.request) if self.request is not None else {}
        user = found.get("user")
        if user is not None and getattr(user, "_wrapped", user) is not empty:
            return user
        return found.get("_acached_user")


_reader: ContextVar[Reader | None] = ContextVar("row_security_reader", default=None)
_reason: ContextVar[str] = ContextVar("row_security_reason", default="")


@contextmanager
def reading_as(reader: Reader) -> Iterator[Reader]:
    """Every statement in here is made with this reader's rights."""
    token = _reader.set(reader)
    try:
        yield reader
    finally:
        _reader.reset(token)


def read_as(user: Any) -> None:
    """Name the reader where the request does not know its user: authentication by our own hand."""
    reader = _reader.get()
    if reader is not None:
        reader.named = user


@contextmanager
def all_rows(reason: str) -> Iterator[None]:
    """The owner's sight inside a request, for what must count or settle with every row.

    Nothing that is read in here may reach the reader without the selectors having said so. Not for
    the body of a generator or a coroutine: the caller in between would see all rows too.
    """
    if not reason:
        raise ValueError("Say why every row is needed.")
    token = _reason.set(reason)
    try:
        yield
    finally:
        _reason.reset(token)


def reader_wanted() -> str | None:
    """What the next statement is made with: None for the owner's role, else the reader's key."""
    reader = _reader.get()
    return None if reader is None or _reason.get() else reader.key()


# Before PostgreSQL 16 every member of a role could take it.
_SET = "CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END"
# Roles belong to the whole server, so several databases may make it in the same moment, and the
# site's own user may not be allowed to. Whether it worked is asked afterwards, by `is_on`.
_MAKE_ROLE = f"""
DO $$ BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{WEB_ROLE}') THEN
            CREATE ROLE {WEB_ROLE} NOLOGIN;
        END IF;
        IF NOT pg_has_role(current_user, '{WEB_ROLE}', {_SET}) THEN
            EXECUTE format('GRANT {WEB_ROLE} TO %I', current_user);
        END IF;
    EXCEPTION
        WHEN duplicate_object OR unique_violation OR insufficient_privilege OR internal_error
        THEN NULL;
    END;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{WEB_ROLE}') AND EXISTS (
        SELECT FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND CASE relkind
            WHEN 'r' THEN NOT has_table_privilege('{WEB_ROLE}', oid, 'DELETE')
            WHEN 'S' THEN NOT has_sequence_privilege('{WEB_ROLE}', oid, 'USAGE')
            ELSE false END
    ) THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO {WEB_ROLE}', current_schema());
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I'
            ' TO {WEB_ROLE}', current_schema());
        EXECUTE format('GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA %I'
            ' TO {WEB_ROLE}', current_schema());
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I'
            ' GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {WEB_ROLE}', current_schema());
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I'
            ' GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {WEB_ROLE}', current_schema());
    END IF;
END $$
"""  # noqa: S608 # nothing but a constant is put in
# The role may be there because of another database of this server: it must have been let into
# this one too. A table that is not there yet makes this false, not an error.
MAY_TAKE_ROLE = f"""EXISTS (
    SELECT FROM pg_roles WHERE rolname = '{WEB_ROLE}' AND pg_has_role(session_user, oid, {_SET})
      AND has_table_privilege(oid, to_regclass('django_migrations'), 'SELECT'))
"""


def make_role(*, using: str, **kwargs: Any) -> None:
    """After each migration: the role, and its rights on the tables that are new."""
    with connections[using].cursor() as cursor:
        cursor.execute(_MAKE_ROLE)


def is_on(using: str = "default") -> bool:
    """Whether the site's database user may take the role that policies apply to."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {MAY_TAKE_ROLE}")
        return bool(cursor.fetchone()[0])


def _has_policies(using: str = "default") -> bool:
    """False before the first `migrate`, which makes policies and role."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_policy)")
        return bool(cursor.fetchone()[0])


def check_row_security(databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """For `manage.py check --database default` and each `migrate`."""
    if not databases or "default" not in databases or not _has_policies() or is_on():
        return []
    return [
        Warning(
            "Row-level security is off: pages rely on their own permission checks alone, because"
            f" the database has no role {WEB_ROLE} that the site's user may take.",
            hint=f"As a database administrator: CREATE ROLE {WEB_ROLE} NOLOGIN; GRANT {WEB_ROLE}"
            " TO the site's user; then run `manage.py migrate` once more.",
            id="core.W001",
        )
    ]
