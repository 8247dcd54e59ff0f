from __future__ import annotations

from django.apps import AppConfig


class DatanetsConfig(AppConfig):
    name = "datanets"

    def ready(self) -> None:
        from datanets.selectors import (
            contribution_subjects,
            describe_anchors,
            stake_subjects,
            visible_anchor_ids,
        )
        from datanets.selectors.known import known_about
        from datanets.selectors.trust import decided_rows
        from datanets.services.appoint_curator import appoint_curator
        from datanets.services.leave import LEAVING
        from openledger_site.accounts.closing import register_part
        from openledger_site.accounts.known import register_known
        from rewards.services import (
            AnchorNames,
            register_anchor_names,
            register_curator_appointment,
            register_review_evidence,
            register_stake_subject,
        )

        register_part("datanets", LEAVING)
        register_known("datanets", known_about)
        register_curator_appointment(appoint_curator)
        register_stake_subject("datanet", stake_subjects)
        register_stake_subject("contribution", contribution_subjects, is_asset=False)
        register_review_evidence(decided_rows)
        register_anchor_names(AnchorNames(visible_anchor_ids, describe_anchors))
