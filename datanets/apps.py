from __future__ import annotations

from django.apps import AppConfig


class DatanetsConfig(AppConfig):
    name = "datanets"
