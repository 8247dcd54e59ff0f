"""A JSON-RPC node that lies when told to: it stands between the site and the real chain."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

Lie = Callable[[dict[str, Any], Callable[[], dict[str, Any]]], dict[str, Any] | bytes | int | None]
"""Given the request and how to ask the chain: an answer, raw bytes, a status, None to hang up."""


def ask(url: str, body: bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(url, body, headers), timeout=10) as reply:  # noqa: S310
        found: dict[str, Any] = json.loads(reply.read())
        return found


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Whoever asked was killed, or was hung up on: that is what this is for."""


class LyingNode:
    """Listens on loopback while the block runs; honest as long as `lie` is None."""

    def __init__(self, chain_url: str) -> None:
        self.chain_url = chain_url
        self.lie: Lie | None = None
        self.lies_told = 0
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: bytes) -> dict[str, Any] | bytes | int | None:
        asked = json.loads(body)

        def honest() -> dict[str, Any]:
            return ask(self.chain_url, body)

        lie = self.lie
        if lie is None:
            return honest()
        self.lies_told += 1
        return lie(asked, honest)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    answer = node.answer(body)
                except OSError:  # the chain itself is away
                    answer = None
                if answer is None:
                    self.close_connection = True
                    return
                status = answer if isinstance(answer, int) else 200
                content = b"" if isinstance(answer, int) else answer
                if isinstance(content, dict):
                    content = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        return Handler


def hang_up(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> None:
    return None


def status(code: int) -> Lie:
    return lambda asked, honest: code


def not_json(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> bytes:
    return b"<html>Bad gateway</html>"


def cut_off(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> bytes:
    whole = json.dumps(honest()).encode()
    return whole[: len(whole) // 2]


def internal_error(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32603, "message": "internal"}}


def slow(seconds: float) -> Lie:
    def answer(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        found = honest()
        time.sleep(seconds)
        return found

    return answer


def instead(method: str, change: Callable[[Any], Any]) -> Lie:
    """Answer one method with something else than the chain's result."""

    def answer(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        found = honest()
        if asked["method"] == method and "result" in found:
            found["result"] = change(found["result"])
        return found

    return answer


def old_heads(blocks: int, chain_url: str) -> Lie:
    """A node that is behind: its newest and final blocks are those of a while ago."""

    def answer(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        found = honest()
        tags = ("latest", "finalized")
        if asked["method"] == "eth_getBlockByNumber" and asked["params"][0] in tags:
            behind = hex(max(0, int(found["result"]["number"], 16) - blocks))
            return ask(chain_url, json.dumps(asked | {"params": [behind, False]}).encode())
        return found

    return answer


def drop_answer_of(method: str) -> Lie:
    """The chain did it, and the one who asked never hears of it."""

    def answer(
        asked: dict[str, Any], honest: Callable[[], dict[str, Any]]
    ) -> dict[str, Any] | None:
        found = honest()
        return None if asked["method"] == method else found

    return answer


def swallow_sent(asked: dict[str, Any], honest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Says that it took the transaction, and forgets it."""
    if asked["method"] != "eth_sendRawTransaction":
        return honest()
    from rewards.chain.transactions import transaction_hash_of

    digest = transaction_hash_of(bytes.fromhex(asked["params"][0][2:]))
    return {"jsonrpc": "2.0", "id": asked["id"], "result": digest}
