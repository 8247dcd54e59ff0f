from __future__ import annotations

from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    name = "marketplace"

    def ready(self) -> None:
        from datanets.services import register_withdrawal_follower
        from marketplace.selectors.agents import stake_subjects
        from marketplace.selectors.known import known_about
        from marketplace.services.check_receipts import check_receipts
        from marketplace.services.forget_passages import queue_forgetting
        from marketplace.services.leave import LEAVING
        from openledger_site.accounts.closing import register_part
        from openledger_site.accounts.known import register_known
        from rewards.services import register_reconcile_check, register_stake_subject

        register_part("marketplace", LEAVING)
        register_known("marketplace", known_about)
        register_reconcile_check("signed receipts", check_receipts)
        register_stake_subject("agent", stake_subjects)
        register_withdrawal_follower("passages in prompts", queue_forgetting)
