"""What can go wrong between us and a chain, as types a caller can act on.

``ChainUnavailable`` means try again later; every other error means that trying the same again is
useless.
"""

from __future__ import annotations

from enum import StrEnum


class ChainError(Exception):
    """Base of all errors of ``rewards.chain``."""


class ChainUnavailable(ChainError):
    """The node did not answer in time, refused the connection or did not speak JSON-RPC."""


class WrongChain(ChainError):
    """The node serves another chain id than the one configured."""

    def __init__(self, expected_chain_id: int, actual_chain_id: int) -> None:
        self.expected_chain_id = expected_chain_id
        self.actual_chain_id = actual_chain_id
        super().__init__(
            f"The node serves chain {actual_chain_id}, but chain {expected_chain_id} is configured."
        )


class UnsafeKey(ChainError):
    """A publicly known development key was about to sign for a chain that is not the local one."""


class CallReverted(ChainError):
    """A contract refused a call; ``error_name`` is e.g. ``ERC20InsufficientBalance``."""

    def __init__(self, error_name: str, arguments: tuple[object, ...] = ()) -> None:
        self.error_name = error_name
        self.arguments = arguments
        shown = ", ".join(str(argument) for argument in arguments)
        super().__init__(f"The contract refused the call: {error_name}({shown})")


class RejectionReason(StrEnum):
    """Why a node did not take a signed transaction; nodes only say it in prose."""

    NONCE_TOO_LOW = "nonce_too_low"
    UNDERPRICED = "underpriced"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    OTHER = "other"


class TransactionRejected(ChainError):
    """The node did not accept a signed transaction."""

    def __init__(self, reason: RejectionReason, message: str) -> None:
        self.reason = reason
        super().__init__(f"The node rejected the transaction ({reason}): {message}")


class TransactionFailed(ChainError):
    """A transaction was mined and reverted."""


class ReceiptTimeout(ChainError):
    """A transaction was not mined within the time given; it may still be mined later."""


class RpcFailure(ChainError):
    """The node answered a request with an error that is none of the above."""


class ArtifactsStale(ChainError):
    """The committed artifacts were not compiled from the committed sources."""


class LocalChainFailed(ChainError):
    """The local anvil could not be found or started."""
