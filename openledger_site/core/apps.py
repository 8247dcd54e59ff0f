from __future__ import annotations

import sys

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules

RECURSION_LIMIT = 1_000  # Python's own


class CoreConfig(AppConfig):
    name = "openledger_site.core"
    label = "core"

    def ready(self) -> None:
        from openledger_site.core.row_security import check_row_security, make_role

        post_migrate.connect(make_role, sender=self)
        register(check_row_security, Tags.database)
        _keep_the_recursion_limit()
        # Every process knows every task and job handler by name: a misspelt one fails at once.
        autodiscover_modules("tasks", "jobs")


def _keep_the_recursion_limit() -> None:
    """Undo what `py_ecc` (of web3) does on import: it lets the stack grow a hundredfold.

    With its limit a JSON body of 100,000 brackets ends the process (SIGSEGV) instead of raising
    RecursionError. Imported here first, it does not do so again.
    """
    import py_ecc  # noqa: F401 # for its effect, which is undone in the next line

    sys.setrecursionlimit(RECURSION_LIMIT)
