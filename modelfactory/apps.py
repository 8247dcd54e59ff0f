from __future__ import annotations

from django.apps import AppConfig


class ModelFactoryConfig(AppConfig):
    name = "modelfactory"

    def ready(self) -> None:
        from datanets.services import register_withdrawal_follower
        from modelfactory.known import known_about
        from modelfactory.selectors import stake_subjects
        from modelfactory.services.leave import LEAVING
        from modelfactory.services.queue_following import follow_withdrawal
        from openledger_site.accounts.closing import register_part
        from openledger_site.accounts.known import register_known
        from rewards.services import register_stake_subject

        register_part("modelfactory", LEAVING)
        register_known("modelfactory", known_about)
        register_stake_subject("model", stake_subjects)
        register_withdrawal_follower("attribution", follow_withdrawal)
