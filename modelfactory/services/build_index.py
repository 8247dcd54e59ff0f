"""Build the attribution index of an adapter under a lease, in a child process."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from modelfactory.models import AttributionIndex
from openledger_site.core.jobs import Lease


def index_folder(d: str) -> Path:
    return Path(settings.ATTRIBUTION_DIR) / d


def build_attribution_index(lease: Lease, index: AttributionIndex) -> None: ...
