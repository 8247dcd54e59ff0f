from __future__ import annotations

from django.apps import AppConfig


class ModelFactoryConfig(AppConfig):
    name = "modelfactory"

    def ready(self) -> None:
        from datanets.services import register_withdrawal_follower
        from modelfactory.services.queue_following import follow_withdrawal

        register_withdrawal_follower("attribution", follow_withdrawal)
