from __future__ import annotations

from django.apps import AppConfig


class RewardsConfig(AppConfig):
    name = "rewards"

    def ready(self) -> None:
        from rewards.selectors.anchors import AnchorNames, register_anchor_names
        from rewards.selectors.closings import closing_anchor_ids, describe_closing_anchors

        register_anchor_names(AnchorNames(closing_anchor_ids, describe_closing_anchors))
