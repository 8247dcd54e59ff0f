"""The connection takes the role and the reader that the code around a statement asks for.

Compared before each statement and set only where it differs, so nothing has to be put back: the
first statement after a request is made by the owner again, whatever happened in between. What a
rollback undoes is not known afterwards, so it is set anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

from openledger_site.core.row_security import MAY_TAKE_ROLE, WEB_ROLE, reader_wanted

# Where the role is missing or may not be taken the owner's stays: the net is off, as
# `manage.py check --database default` says.
_FOLLOW = f"""
SELECT set_config('openledger.reader', %s, false),
    set_config('role', CASE WHEN %s AND {MAY_TAKE_ROLE} THEN '{WEB_ROLE}' ELSE 'none' END, false)
"""
_UNKNOWN = object()


class DatabaseWrapper(base.DatabaseWrapper):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_force: Any = None
        self._was_set = False
        self.execute_wrappers.append(self._as_reader)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        raw = super().get_new_connection(conn_params)
        # One out of a pool is as its last user left it.
        self._was_set = bool(self.settings_dict["OPTIONS"].get("pool"))
        self._in_force = _UNKNOWN if self._was_set else None
        return raw

    def _as_reader(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        self._follow_reader()
        return execute(sql, params, many, context)

    def _follow_reader(self) -> None:
        wanted = reader_wanted()
        if wanted == self._in_force:
            return
        raw = self.connection
        if raw.info.transaction_status == TransactionStatus.INERROR:
            return  # nothing but a rollback gets through, and after it this is asked again
        self._was_set, self._in_force = True, _UNKNOWN
        with self.wrap_database_errors:
            raw.execute(_FOLLOW, (wanted or "", wanted is not None))
        self._in_force = wanted

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc] # left out of the stubs
        self._forget()

    def _savepoint_rollback(self, sid: str) -> None:
        super()._savepoint_rollback(sid)  # type: ignore[misc] # left out of the stubs
        self._forget()

    def _forget(self) -> None:
        if self._was_set:
            self._in_force = _UNKNOWN
