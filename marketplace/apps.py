from __future__ import annotations

from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    name = "marketplace"

    def ready(self) -> None:
        from marketplace.services.check_receipts import check_receipts
        from rewards.services import register_reconcile_check

        register_reconcile_check("signed receipts", check_receipts)
