"""How the engine is started: one process per base model, beside the attribution worker."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from modelfactory.services.base_models import resolve_source


@dataclass(frozen=True)
class EngineCommand:
    """Arguments (the first is the interpreter) and what to add to the environment."""

    arguments: list[str]
    environment: dict[str, str]


def engine_command() -> EngineCommand:
    """The engine for `settings.BASE_MODEL`, listening where `settings.ENGINE_URL` says."""
    address = urlsplit(settings.ENGINE_URL)
    arguments = [sys.executable, "-m", "modelfactory.serving"]
    arguments += ["--base", resolve_source(settings.BASE_MODEL)]
    arguments += ["--adapters", str(settings.ADAPTERS_DIR)]
    arguments += ["--listen", f"{address.hostname}:{address.port}"]
    threads = str(settings.TORCH_THREADS)
    return EngineCommand(
        arguments,
        {
            "ENGINE_TOKEN": settings.ENGINE_TOKEN,
            "OMP_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
    )
