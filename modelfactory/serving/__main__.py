"""The engine process: ``python -m modelfactory.serving --base PATH --adapters FOLDER --listen …``.

Needs ``ENGINE_TOKEN`` in the environment. Prints one JSON line when it is ready. Ends cleanly on
SIGTERM and SIGINT, and by itself when its parent is gone (unless ``--stay``).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import ipaddress
import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelfactory.parent import exit_with_parent

UNIX = "unix:"


def bind(address: str) -> socket.socket:
    """A listening socket at ``127.0.0.1:PORT`` (0 takes a free one) or ``unix:PATH``.

    Raises ``ValueError`` for anything but a loopback address: this interface is not for a network.
    """
    if address.startswith(UNIX):
        path = Path(address.removeprefix(UNIX))
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        return listener
    host, _, port = address.rpartition(":")
    if not ipaddress.ip_address(host.strip("[]")).is_loopback:
        raise ValueError(f"{host} is not a loopback address")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host.strip("[]"), int(port)))
    return listener


def spoken_address(listener: socket.socket) -> str:
    """The address a client is given."""
    if listener.family == socket.AF_UNIX:
        return UNIX + str(listener.getsockname())
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modelfactory.serving", description=__doc__)
    parser.add_argument("--base", required=True, help="folder or hub id of the base model")
    parser.add_argument("--adapters", required=True, type=Path, help="folder of adapters by digest")
    parser.add_argument("--listen", default="127.0.0.1:0", help="127.0.0.1:PORT or unix:PATH")
    parser.add_argument("--slots", type=int, default=16, help="requests that run at once")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--context-tokens", type=int, default=2048)
    parser.add_argument("--adapter-budget-megabytes", type=int, default=256)
    parser.add_argument("--stay", action="store_true", help="do not end with the parent process")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    token = os.environ.get("ENGINE_TOKEN", "")
    if not token:
        sys.stderr.write("ENGINE_TOKEN is not set\n")
        return 2
    if not options.stay:
        exit_with_parent()
    listener = bind(options.listen)
    # From here on a caller waits in line: "ready" must not be said to somebody who is then refused.
    listener.listen(128)
    asyncio.run(serve(options, listener, token))
    return 0


def name_base(path_or_id: str, model: Any) -> str:
    """The digest of a base folder; of id and commit for a base that came from a hub."""
    from modelfactory.training.base_files import base_digest

    if Path(path_or_id).is_dir():
        return base_digest(Path(path_or_id))
    commit = getattr(model.config, "_commit_hash", None)
    return hashlib.sha256(f"{path_or_id}@{commit}".encode()).hexdigest()


async def serve(options: argparse.Namespace, listener: socket.socket, token: str) -> None:
    """Load the base, then serve until a signal."""
    import torch
    import uvicorn

    from modelfactory.serving.server import EngineServer
    from modelfactory.serving.torch_engine import EngineSettings, TorchEngine
    from modelfactory.training.base import load_base

    torch.set_num_threads(options.threads)
    model, tokenizer = load_base(options.base)
    engine = TorchEngine(
        model,
        tokenizer,
        base_digest=name_base(options.base, model),
        adapters_root=options.adapters,
        settings=EngineSettings(
            slots=options.slots,
            context_tokens=options.context_tokens,
            adapter_budget_bytes=options.adapter_budget_megabytes * 1024 * 1024,
        ),
    )
    config = uvicorn.Config(
        EngineServer(engine, token),
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    ready = {"event": "ready", "address": spoken_address(listener), "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        engine.close()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
