from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CoreConfig(AppConfig):
    name = "openledger_site.core"
    label = "core"

    def ready(self) -> None:
        # Every process knows every task and job handler by name: a misspelt one fails at once.
        autodiscover_modules("tasks", "jobs")
