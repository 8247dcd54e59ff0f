from __future__ import annotations

from django.apps import AppConfig


class ModelFactoryConfig(AppConfig):
    name = "modelfactory"
