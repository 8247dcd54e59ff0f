"""JSON-RPC over HTTP with a time limit and typed errors; the floor under ``client`` and ``local``.

web3's own provider retries by itself and raises a dozen exception types. Here a request is tried
once, and fails as ``ChainUnavailable`` (try later), ``CallReverted`` or ``RpcFailure``.
"""

from __future__ import annotations

import os
from typing import Any

import requests
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint

from rewards.chain.artifacts import CONTRACTS_FOLDER, artifact
from rewards.chain.errors import CallReverted, ChainUnavailable, RpcFailure

# Solidity's own errors: revert with a reason string, and failed assertions.
REASON_SELECTOR = bytes.fromhex("08c379a0")
PANIC_SELECTOR = bytes.fromhex("4e487b71")


class Rpc:
    """One HTTP JSON-RPC endpoint. Safe to share between threads and across a fork."""

    def __init__(self, rpc_url: str, timeout_seconds: float) -> None:
        self._rpc_url = rpc_url
        self._timeout_seconds = timeout_seconds
        self._connect()

    def _connect(self) -> None:
        self._process_id = os.getpid()
        self._provider = HTTPProvider(
            self._rpc_url,
            request_kwargs={"timeout": self._timeout_seconds},
            exception_retry_configuration=None,
        )

    def request(self, method: str, *parameters: object) -> Any:
        """The ``result`` of one request."""
        if self._process_id != os.getpid():  # a forked child may not write to its parent's socket
            self._connect()
        try:
            answer: Any = self._provider.make_request(RPCEndpoint(method), list(parameters))
        except (requests.RequestException, OSError, ValueError) as error:
            raise ChainUnavailable(f"{method}: {type(error).__name__}: {error}") from error
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise ChainUnavailable(f"{method}: the answer is not JSON-RPC")
        failure = answer.get("error")
        if failure is not None:
            raise _typed_failure(method, failure)
        return answer["result"]


def _typed_failure(method: str, failure: object) -> CallReverted | RpcFailure:
    if not isinstance(failure, dict):
        return RpcFailure(f"{method}: {failure}")
    data = failure.get("data")
    message = str(failure.get("message", failure))
    if isinstance(data, dict):  # some nodes wrap the revert data once more
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x") and len(data) >= 10:
        try:
            return decode_revert(bytes.fromhex(data[2:]))
        except (DecodingError, ValueError):  # another contract's error under the same selector
            return CallReverted("UnknownError", (data,))
    if "revert" in message.lower():
        return CallReverted("Reverted", (message,))
    return RpcFailure(f"{method}: {message}")


def decode_revert(data: bytes) -> CallReverted:
    """Names the custom error, reason or panic in revert data."""
    selector, body = data[:4], data[4:]
    if selector == REASON_SELECTOR:
        return CallReverted("Error", decode(["string"], body))
    if selector == PANIC_SELECTOR:
        return CallReverted("Panic", decode(["uint256"], body))
    for contract in sorted((CONTRACTS_FOLDER / "artifacts").glob("*.json")):
        for entry in artifact(contract.stem).abi:
            if entry["type"] != "error":
                continue
            types = [item["type"] for item in entry["inputs"]]
            if bytes(Web3.keccak(text=f"{entry['name']}({','.join(types)})")[:4]) == selector:
                return CallReverted(entry["name"], decode(types, body))
    return CallReverted("UnknownError", (Web3.to_hex(data),))
