"""``ChainClient``: everything the site reads from a chain, and the door for signed transactions.

Every request has a time limit, is tried once and fails with a type from ``errors``. The node's
chain id is compared with the configured one before its first answer is used and then once a
minute. The node is not trusted to filter: logs are matched to our contract addresses here too.

    client = ChainClient(settings.CHAIN_RPC_URL, expected_chain_id=31337, timeout_seconds=5)
    head = client.finalized_block()
    for deposit in client.deposit_events(addresses.escrow, cursor + 1, head.number):
        ...  # credit once per (transaction_hash, log_index); store deposit.block_hash
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from web3 import Web3

from openledger_site.core.waiting import rounds
from rewards.chain.calls import ContractCall
from rewards.chain.errors import (
    ChainUnavailable,
    ReceiptTimeout,
    RejectionReason,
    RpcFailure,
    TransactionFailed,
    TransactionRejected,
    WrongChain,
)
from rewards.chain.logs import address_in, as_topic, data_of
from rewards.chain.records import (
    AnchorState,
    BlockReference,
    ClaimEvent,
    DepositEvent,
    DistributorState,
    LogPlace,
    Receipt,
    WithdrawalEvent,
)
from rewards.chain.rpc import Rpc
from rewards.chain.transactions import Fees, transaction_hash_of

BlockTag = int | Literal["latest", "safe", "finalized", "pending", "earliest"]
Topics = tuple[str | Sequence[str] | None, ...]

DEPOSITED = "Deposited(address,uint256,uint256)"
WITHDRAWN = "Withdrawn(address,uint256,bytes32)"
AUTHORIZATION_USED = "AuthorizationUsed(address,bytes32)"
TRANSFER = "Transfer(address,address,uint256)"
CLAIMED = "Claimed(address,uint256,uint256,bytes32)"
# Public nodes refuse wide log queries; 2,000 blocks is accepted by all we know of.
LOG_RANGE_BLOCKS = 2_000
GAS_MARGIN_PERCENT = 20
# A vote checkpoint is cheap in the second of the last one and writes a new slot after it, which may
# be the difference between the block estimated on and the one that comes.
GAS_MARGIN = 50_000
CHECK_INTERVAL_SECONDS = 60.0


class ChainClient:
    """Reads one chain and broadcasts to it. Safe to share between threads."""

    def __init__(
        self,
        rpc_url: str,
        expected_chain_id: int,
        timeout_seconds: float = 5.0,
        log_range_blocks: int = LOG_RANGE_BLOCKS,
    ) -> None:
        self.expected_chain_id = expected_chain_id
        self._log_range_blocks = log_range_blocks
        self._rpc = Rpc(rpc_url, timeout_seconds)
        self._checked_at_seconds: float | None = None

    def check(self) -> None:
        """Raises ``WrongChain`` unless the node serves the configured chain."""
        actual = _number(self._rpc.request("eth_chainId"))
        if actual != self.expected_chain_id:
            self._checked_at_seconds = None
            raise WrongChain(self.expected_chain_id, actual)
        self._checked_at_seconds = time.monotonic()

    def request(self, method: str, *parameters: object) -> Any:
        """One raw JSON-RPC request; the chain id was checked at most a minute ago."""
        checked = self._checked_at_seconds
        if checked is None or time.monotonic() > checked + CHECK_INTERVAL_SECONDS:
            self.check()
        return self._rpc.request(method, *parameters)

    # Blocks

    def block(self, block: BlockTag) -> BlockReference | None:
        """Number, hash and time of a block; None when the node does not have it."""
        found = self.request("eth_getBlockByNumber", _tag(block), False)
        if found is None:
            return None
        return BlockReference(
            _number(found["number"]), str(found["hash"]), _number(found["timestamp"])
        )

    def latest_block(self) -> BlockReference:
        """The newest block; may still be replaced."""
        return self._known_block("latest")

    def finalized_block(self) -> BlockReference:
        """The newest block that the chain says cannot be replaced; deposits count up to here."""
        return self._known_block("finalized")

    def block_hash(self, number: int) -> str | None:
        """Hash of a block, None above the head; a stored hash that differs means a reorg."""
        found = self.block(number)
        return None if found is None else found.hash

    # Events

    def deposit_events(self, escrow: str, from_block: int, to_block: int) -> list[DepositEvent]:
        """Deposits in blocks ``from_block`` to ``to_block``, both included, in chain order."""
        found: list[DepositEvent] = []
        for log, place in self.logs(escrow, DEPOSITED, from_block, to_block):
            (amount_wei,) = decode(["uint256"], data_of(log))
            account, deposit_id = address_in(log, 1), _topic(log, 2)
            found.append(DepositEvent(account, amount_wei, deposit_id, place))
        return found

    def authorized_deposit_events(
        self, token: str, escrow: str, from_block: int, to_block: int
    ) -> list[DepositEvent]:
        """OPEN sent to the escrow by its owner's signature (EIP-3009), in chain order.

        Whoever broadcast it. The token writes the use of the nonce and then the transfer, with
        nothing in between, so the two logs name one payment.
        """
        used = self.logs(token, AUTHORIZATION_USED, from_block, to_block)
        if not used:
            return []
        payers = {
            (at.transaction_hash, at.log_index + 1): (address_in(log, 1), str(log["topics"][2]))
            for log, at in used
        }
        found: list[DepositEvent] = []
        to_escrow = (None, as_topic(escrow))
        for log, place in self.logs(token, TRANSFER, from_block, to_block, to_escrow):
            payer, nonce = payers.get((place.transaction_hash, place.log_index), ("", ""))
            (amount_wei,) = decode(["uint256"], data_of(log))
            if payer == address_in(log, 1) and amount_wei:
                found.append(DepositEvent(payer, amount_wei, 0, place, nonce))
        return found

    def withdrawal_events(
        self, escrow: str, from_block: int, to_block: int
    ) -> list[WithdrawalEvent]:
        """Withdrawals from custody in both-inclusive blocks, in chain order."""
        found: list[WithdrawalEvent] = []
        for log, place in self.logs(escrow, WITHDRAWN, from_block, to_block):
            (amount_wei,) = decode(["uint256"], data_of(log))
            to, withdrawal_id = address_in(log, 1), str(log["topics"][2])
            found.append(WithdrawalEvent(to, amount_wei, withdrawal_id, place))
        return found

    def claim_events(self, distributor: str, from_block: int, to_block: int) -> list[ClaimEvent]:
        """Payouts to accounts in both-inclusive blocks, in chain order."""
        found: list[ClaimEvent] = []
        for log, place in self.logs(distributor, CLAIMED, from_block, to_block):
            amount_wei, cumulative_wei = decode(["uint256", "uint256"], data_of(log))
            account, root = address_in(log, 1), str(log["topics"][2])
            found.append(ClaimEvent(account, amount_wei, cumulative_wei, root, place))
        return found

    # Balances and contract state

    def balance_of(self, token: str, account: str, block: BlockTag = "latest") -> int:
        """OPEN of ``account`` in wei."""
        return int(self.read(token, "balanceOf(address)", [account], ["uint256"], block)[0])

    def native_balance_of(self, account: str, block: BlockTag = "latest") -> int:
        """The chain's native coin of ``account`` in wei; it pays for gas."""
        return _number(self.request("eth_getBalance", account, _tag(block)))

    def nonces(self, token: str, account: str) -> int:
        """The next ERC-2612 permit nonce of ``account``."""
        return int(self.read(token, "nonces(address)", [account], ["uint256"], "latest")[0])

    def is_authorization_used(
        self, token: str, payer: str, nonce: str, block: BlockTag = "latest"
    ) -> bool:
        """Whether ``payer``'s EIP-3009 nonce was used or cancelled."""
        arguments: list[object] = [payer, bytes.fromhex(nonce[2:])]
        signature = "authorizationState(address,bytes32)"
        return bool(self.read(token, signature, arguments, ["bool"], block)[0])

    def claimed(self, distributor: str, account: str, block: BlockTag = "latest") -> int:
        """Paid out to ``account`` so far, in wei."""
        return int(self.read(distributor, "claimed(address)", [account], ["uint256"], block)[0])

    def is_root_accepted(self, distributor: str, root: bytes) -> bool:
        """Whether claims against ``root`` are paid now."""
        accepted = self.read(distributor, "isAccepted(bytes32)", [root], ["bool"], "latest")[0]
        return bool(accepted)

    def distributor_state(self, distributor: str, block: BlockTag = "latest") -> DistributorState:
        """Totals, current root and waiting proposal of the distributor."""

        def value(signature: str, kind: str = "uint256") -> Any:
            return self.read(distributor, signature, [], [kind], block)[0]

        waiting = self.read(
            distributor,
            "proposal()",
            [],
            ["bytes32", "bytes32", "uint256", "uint64", "uint64"],
            block,
        )
        return DistributorState(
            current_root=Web3.to_hex(value("currentRoot()", "bytes32")),
            current_epoch=value("currentEpoch()", "uint64"),
            cumulative_total_wei=value("cumulativeTotal()"),
            total_claimed_wei=value("totalClaimed()"),
            funded_wei=value("funded()"),
            challenge_delay_seconds=value("challengeDelay()", "uint64"),
            proposed_root=Web3.to_hex(waiting[0]) if waiting[4] else None,
            activatable_at_timestamp=waiting[4] or None,
        )

    def anchor_of(self, registry: str, subject: bytes, root: bytes) -> AnchorState | None:
        """When ``root`` was anchored for ``subject``; None when it was not."""
        timestamp, number, count = self.read(
            registry,
            "anchorOf(bytes32,bytes32)",
            [subject, root],
            ["uint64", "uint64", "uint128"],
            "latest",
        )
        return AnchorState(timestamp, number, count) if timestamp else None

    def is_escrow_id_used(self, escrow: str, identifier: bytes) -> bool:
        """Whether a withdrawal or funding id was processed."""
        return bool(self.read(escrow, "isUsed(bytes32)", [identifier], ["bool"], "latest")[0])

    def code_of(self, address: str) -> bytes:
        """Deployed code at ``address``; empty when there is none."""
        return bytes.fromhex(str(self.request("eth_getCode", address, "latest"))[2:])

    # Sending

    def transaction_count(self, account: str, block: BlockTag = "latest") -> int:
        """Nonces of ``account`` used up to ``block``; ``pending`` counts the node's pool too."""
        return _number(self.request("eth_getTransactionCount", account, _tag(block)))

    def estimate_gas(self, sender: str, call: ContractCall) -> int:
        """Gas limit with a margin; raises ``CallReverted`` with the contract's own error."""
        fields = {"from": sender, "data": Web3.to_hex(call.data), "value": hex(call.value_wei)}
        if call.to is not None:
            fields["to"] = call.to
        # Against the next block: a delay that has passed since the newest one counts as over.
        estimate = _number(self.request("eth_estimateGas", fields, "pending"))
        return estimate + estimate * GAS_MARGIN_PERCENT // 100 + GAS_MARGIN

    def estimate_fees(self) -> Fees:
        """Fees that stay valid while the base fee doubles (six full blocks)."""
        latest = self.request("eth_getBlockByNumber", "latest", False)
        base_fee = _number(latest.get("baseFeePerGas", "0x0"))
        tip = _number(self.request("eth_maxPriorityFeePerGas"))
        return Fees(max_fee_per_gas_wei=2 * base_fee + tip, max_priority_fee_per_gas_wei=tip)

    def send_raw(self, raw: bytes) -> str:
        """Broadcasts signed bytes; answers their hash, also when the node has them already.

        Raises ``TransactionRejected`` with a reason. On ``ChainUnavailable`` the bytes may have
        arrived: broadcast the same bytes again, never newly signed ones.
        """
        transaction_hash = transaction_hash_of(raw)
        try:
            self.request("eth_sendRawTransaction", Web3.to_hex(raw))
        except RpcFailure as error:
            if self._has_transaction(transaction_hash):
                return transaction_hash
            raise TransactionRejected(_rejection_reason(str(error)), str(error)) from error
        return transaction_hash

    def receipt(self, transaction_hash: str) -> Receipt | None:
        """The receipt of a mined transaction, None while it waits or is unknown."""
        found = self.request("eth_getTransactionReceipt", transaction_hash)
        if found is None:
            return None
        created = found.get("contractAddress")
        return Receipt(
            transaction_hash=str(found["transactionHash"]),
            is_success=_number(found["status"]) == 1,
            block_number=_number(found["blockNumber"]),
            block_hash=str(found["blockHash"]),
            gas_used=_number(found["gasUsed"]),
            effective_gas_price_wei=_number(found["effectiveGasPrice"]),
            contract_address=to_checksum_address(created) if created else None,
        )

    def wait_for_receipt(self, transaction_hash: str, timeout_seconds: float = 30.0) -> Receipt:
        """The receipt of a successful transaction.

        Raises ``TransactionFailed`` when it reverted, ``ReceiptTimeout`` when it is not mined yet.
        """
        for _ in rounds(timeout_seconds, pause_seconds=0.02):
            if (receipt := self.receipt(transaction_hash)) is not None:
                break
        else:
            raise ReceiptTimeout(f"{transaction_hash} not mined in {timeout_seconds} s")
        if not receipt.is_success:
            raise TransactionFailed(f"{transaction_hash} reverted in block {receipt.block_number}")
        return receipt

    # Inside

    def _known_block(self, tag: Literal["latest", "finalized"]) -> BlockReference:
        found = self.block(tag)
        if found is None:
            raise ChainUnavailable(f"The node has no {tag} block yet.")
        return found

    def _has_transaction(self, transaction_hash: str) -> bool:
        return self.request("eth_getTransactionByHash", transaction_hash) is not None

    def read(
        self,
        contract: str,
        signature: str,
        arguments: list[object],
        returns: list[str],
        block: BlockTag,
    ) -> tuple[Any, ...]:
        """What a view function answers, decoded; raises ``RpcFailure`` when it is not there."""
        types = signature[signature.index("(") + 1 : -1]
        data = Web3.keccak(text=signature)[:4] + encode(
            types.split(",") if types else [], arguments
        )
        fields = {"to": contract, "data": Web3.to_hex(data)}
        answer = bytes.fromhex(str(self.request("eth_call", fields, _tag(block)))[2:])
        if not answer:
            raise RpcFailure(f"There is no contract with {signature} at {contract}.")
        try:
            return decode(returns, answer)
        except DecodingError as error:
            raise RpcFailure(f"{contract} answers {signature} in another form.") from error

    def logs(
        self,
        contract: str,
        event: str,
        from_block: int,
        to_block: int,
        indexed: Topics = (),
    ) -> list[tuple[dict[str, Any], LogPlace]]:
        """Logs of one event of one contract in both-inclusive blocks, in chain order.

        ``indexed`` asks for a value of its indexed arguments, any of several, None for any at all.
        """
        return self.logs_of(contract, [event], from_block, to_block, indexed)

    def logs_of(
        self,
        contracts: str | Sequence[str],
        events: Sequence[str],
        from_block: int,
        to_block: int,
        indexed: Topics = (),
    ) -> list[tuple[dict[str, Any], LogPlace]]:
        """As ``logs``, of several events at once, of one contract or of several (at least one)."""
        addresses = [contracts] if isinstance(contracts, str) else list(contracts)
        ours = {to_checksum_address(address) for address in addresses}
        topics = [Web3.to_hex(Web3.keccak(text=event)) for event in events]
        found: list[tuple[dict[str, Any], LogPlace]] = []
        for start in range(from_block, to_block + 1, self._log_range_blocks):
            end = min(start + self._log_range_blocks - 1, to_block)
            query = {
                "address": addresses,
                "topics": [topics, *indexed],
                "fromBlock": hex(start),
                "toBlock": hex(end),
            }
            for log in self.request("eth_getLogs", query):
                is_ours = to_checksum_address(log["address"]) in ours
                is_wanted = log["topics"][0] in topics and _all_match(
                    zip(indexed, log["topics"][1:], strict=False)
                )
                if is_ours and is_wanted and not log.get("removed", False):
                    found.append((log, _place(log)))
        return sorted(found, key=lambda item: (item[1].block_number, item[1].log_index))


def _all_match(topics: Iterable[tuple[str | Sequence[str] | None, str]]) -> bool:
    return all(
        wanted is None or actual in ([wanted] if isinstance(wanted, str) else wanted)
        for wanted, actual in topics
    )


def _number(value: str) -> int:
    return int(value, 16)


def _tag(block: BlockTag) -> str:
    return hex(block) if isinstance(block, int) else block


def _topic(log: dict[str, Any], index: int) -> int:
    return int(log["topics"][index], 16)


def _place(log: dict[str, Any]) -> LogPlace:
    return LogPlace(
        block_number=_number(log["blockNumber"]),
        block_hash=str(log["blockHash"]),
        transaction_hash=str(log["transactionHash"]),
        log_index=_number(log["logIndex"]),
    )


def _rejection_reason(message: str) -> RejectionReason:
    lowered = message.lower()
    if "nonce too low" in lowered:
        return RejectionReason.NONCE_TOO_LOW
    if "underpriced" in lowered or "max fee per gas less than block base fee" in lowered:
        return RejectionReason.UNDERPRICED
    if "insufficient funds" in lowered:
        return RejectionReason.INSUFFICIENT_FUNDS
    return RejectionReason.OTHER
