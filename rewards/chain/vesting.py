"""Grants that unlock over time: their calls, events, readings and deployment.

`OpenVesting` makes the wallet of each grant, which is OpenZeppelin's own. Amounts are wei, times
seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from web3 import Web3

from rewards.chain.calls import ContractCall, create_call, encode_call, grant_role_call
from rewards.chain.client import TRANSFER, BlockTag, ChainClient
from rewards.chain.contracts import Addresses, create_with_role, send_and_wait
from rewards.chain.logs import address_in, as_topic, data_of
from rewards.chain.records import LogPlace
from rewards.chain.transactions import Signer
from rewards.vesting import Schedule

GRANTED = "Granted(bytes32,address,address,uint256,uint64,uint64,uint64)"
RELEASED = "ERC20Released(address,uint256)"
HANDED_OVER = "OwnershipTransferred(address,address)"
# Nodes refuse queries for too many addresses at once (geth: 1,000).
WALLETS_AT_ONCE = 500
NOBODY = "0x" + "0" * 40


@dataclass(frozen=True)
class GrantMade:
    """A grant was made: all of it is in `wallet` from now on."""

    grant_id: str
    beneficiary: str
    wallet: str
    amount_wei: int
    schedule: Schedule
    place: LogPlace


@dataclass(frozen=True)
class WalletEvent:
    """Something happened to a grant's wallet. `kind` is a `VestingEvent.Kind`.

    `account` is who paid OPEN in, or the new owner; empty for a release.
    """

    kind: str
    wallet: str
    account: str
    amount_wei: int
    place: LogPlace


@dataclass(frozen=True)
class GrantReading:
    """A grant's wallet at a block; `allocation_wei` is all that it ever held."""

    owner: str
    allocation_wei: int
    released_wei: int


def grant_call(
    vesting: str, grant_id: bytes, beneficiary: str, amount_wei: int, schedule: Schedule
) -> ContractCall:
    """Grants approved OPEN of the sender; by a granter. A 32-byte id works once."""
    return encode_call(
        vesting,
        "grant(bytes32,address,uint256,uint64,uint64,uint64)",
        grant_id,
        beneficiary,
        amount_wei,
        schedule.start,
        schedule.cliff_seconds,
        schedule.duration_seconds,
    )


def release_call(wallet: str, token: str) -> ContractCall:
    """Pays what is unlocked to the owner of the wallet; by anyone."""
    return encode_call(wallet, "release(address)", token)


def hand_over_call(wallet: str, owner: str) -> ContractCall:
    """Gives a grant to another address; by its owner."""
    return encode_call(wallet, "transferOwnership(address)", owner)


def grants_made(client: ChainClient, vesting: str, first: int, last: int) -> list[GrantMade]:
    """All of both-inclusive blocks, in chain order."""
    found: list[GrantMade] = []
    for log, place in client.logs(vesting, GRANTED, first, last):
        amount_wei, *times = decode(["uint256", "uint64", "uint64", "uint64"], data_of(log))
        beneficiary, wallet = address_in(log, 2), address_in(log, 3)
        schedule = Schedule(*times)
        found.append(GrantMade(log["topics"][1], beneficiary, wallet, amount_wei, schedule, place))
    return found


def wallet_events(
    client: ChainClient, token: str, wallets: Sequence[str], first: int, last: int
) -> list[WalletEvent]:
    """What happened to these wallets in both-inclusive blocks, in chain order."""
    found: list[WalletEvent] = []
    for start in range(0, len(wallets), WALLETS_AT_ONCE):
        some = wallets[start : start + WALLETS_AT_ONCE]
        found += _own_events(client, token, some, first, last)
        topics = [as_topic(wallet) for wallet in some]
        for log, place in client.logs(token, TRANSFER, first, last, (None, topics)):
            (amount_wei,) = decode(["uint256"], data_of(log))
            found.append(
                WalletEvent("received", address_in(log, 2), address_in(log, 1), amount_wei, place)
            )
    return sorted(found, key=lambda event: (event.place.block_number, event.place.log_index))


def _own_events(
    client: ChainClient, token: str, wallets: Sequence[str], first: int, last: int
) -> list[WalletEvent]:
    found: list[WalletEvent] = []
    released = Web3.to_hex(Web3.keccak(text=RELEASED))
    for log, place in client.logs_of(wallets, [RELEASED, HANDED_OVER], first, last):
        wallet = str(to_checksum_address(log["address"]))
        if log["topics"][0] == released:
            (amount_wei,) = decode(["uint256"], data_of(log))
            if address_in(log, 1) == token and amount_wei:
                found.append(WalletEvent("released", wallet, "", amount_wei, place))
        elif address_in(log, 1) != NOBODY:  # from nobody: the wallet was made
            found.append(WalletEvent("handed_over", wallet, address_in(log, 2), 0, place))
    return found


def read_grant(client: ChainClient, token: str, wallet: str, block: BlockTag) -> GrantReading:
    """Whose a grant's wallet is at `block`, what it ever held and what it released."""
    owner = client.read(wallet, "owner()", [], ["address"], block)[0]
    released = int(client.read(wallet, "released(address)", [token], ["uint256"], block)[0])
    held = client.balance_of(token, wallet, block)
    return GrantReading(str(to_checksum_address(owner)), held + released, released)


def deploy_vesting(
    client: ChainClient,
    signer: Signer,
    addresses: Addresses,
    *,
    granters: Sequence[str],
    admin_delay_seconds: int,
) -> Addresses:
    """Deploys the contract; answers the addresses with its own filled in."""
    arguments = [signer.address, admin_delay_seconds, addresses.token]
    create = create_call("OpenVesting", ["address", "uint48", "address"], arguments)
    first, *others = granters
    vesting = create_with_role(client, signer, create, "GRANTER_ROLE", first)
    for granter in others:
        send_and_wait(client, signer, grant_role_call(vesting, "GRANTER_ROLE", granter))
    return replace(addresses, vesting=vesting)
