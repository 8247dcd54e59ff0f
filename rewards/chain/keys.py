"""The development keys that anvil hands out, which the whole world knows.

They may sign for the local chain only. ``refuse_public_key`` is called by ``Signer``, so no
transaction signed with one of them can leave for any other chain id.
"""

from __future__ import annotations

from functools import cache

from eth_account import Account
from eth_account.signers.local import LocalAccount

from rewards.chain.errors import UnsafeKey

DEVELOPMENT_CHAIN_ID = 31337
# The default mnemonic of anvil and hardhat (foundry book, "anvil"); public on purpose.
DEVELOPMENT_MNEMONIC = "test test test test test test test test test test test junk"
DEVELOPMENT_KEY_COUNT = 20


@cache
def development_account(index: int) -> LocalAccount:
    """Development account ``index`` at m/44'/60'/0'/0/index; anvil funds the first ten."""
    Account.enable_unaudited_hdwallet_features()
    path = f"m/44'/60'/0'/0/{index}"
    account: LocalAccount = Account.from_mnemonic(DEVELOPMENT_MNEMONIC, account_path=path)
    return account


@cache
def development_addresses() -> frozenset[str]:
    """Addresses of the first ``DEVELOPMENT_KEY_COUNT`` development accounts."""
    return frozenset(development_account(index).address for index in range(DEVELOPMENT_KEY_COUNT))


def refuse_public_key(
    address: str, chain_id: int, development_chain_id: int = DEVELOPMENT_CHAIN_ID
) -> None:
    """Raises ``UnsafeKey`` when a development key would sign for any chain but the local one."""
    if chain_id != development_chain_id and address in development_addresses():
        raise UnsafeKey(
            f"{address} is a public development key; chain {chain_id} needs a key of its own."
        )
