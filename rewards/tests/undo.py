"""Undo what a test does to a chain that many tests share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from rewards.chain.client import ChainClient
from rewards.chain.local import CONFIRMATIONS_TO_FINALITY


@contextmanager
def undone(client: ChainClient) -> Iterator[None]:
    """Revert the chain at the end; inside, `finalized` is a block whose state anvil still has.

    anvil (1.7.1) keeps the states of the newest 64 block hashes and does not forget those of
    reverted blocks. Two tests that mine the same blocks mine the same hashes, and when the older
    entry is dropped the state of the living block goes with it: "block height is 10 but requested
    was 8". A coinbase of its own gives each test other hashes, and three blocks bring `finalized`
    past what earlier tests pushed out.
    """
    snapshot = client.request("evm_snapshot")
    client.request("anvil_setCoinbase", "0x" + secrets.token_hex(20))
    client.request("anvil_mine", hex(CONFIRMATIONS_TO_FINALITY + 1))
    yield
    client.request("evm_revert", snapshot)
