from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import import_string


class AccountsConfig(AppConfig):
    name = "openledger_site.accounts"
    label = "accounts"

    def ready(self) -> None:
        # Registers itself with drf-spectacular when it is imported.
        import_string("openledger_site.accounts.schema.ApiKeyScheme")
