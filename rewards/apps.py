from __future__ import annotations

from django.apps import AppConfig


class RewardsConfig(AppConfig):
    name = "rewards"

    def ready(self) -> None:
        from openledger_site.accounts.closing import register_part
        from openledger_site.accounts.known import register_known
        from rewards.selectors.anchors import AnchorNames, register_anchor_names
        from rewards.selectors.closings import closing_anchor_ids, describe_closing_anchors
        from rewards.selectors.known import known_about
        from rewards.services.leave import LEAVING

        register_part("rewards", LEAVING)
        register_known("rewards", known_about)
        register_anchor_names(AnchorNames(closing_anchor_ids, describe_closing_anchors))
