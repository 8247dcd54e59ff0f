"""What an epoch writes can be recomputed by anybody, from the books or from its public file."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from eth_utils.address import to_checksum_address
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from rewards.chain.contracts import Addresses
from rewards.merkle import MerkleTree, keccak256, payout_leaf
from rewards.models import Account, Entry, Epoch, EpochPayout
from rewards.selectors import leaf_file_of, payout_tree
from rewards.services import close_epoch
from rewards.services.ledger import post, system_account, user_account
from rewards.services.reconcile import _BOOK_CHECKS

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]
Kind = Account.Kind


@pytest.fixture
def addresses(settings: Settings, tmp_path: Path) -> Addresses:
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "addresses.json"
    settings.MEDIA_ROOT = tmp_path / "media"
    one = to_checksum_address("0x" + "d1" * 20)
    found = Addresses(settings.CHAIN_ID, one, one, one, one, 1, "0x" + "11" * 32, "")
    found.save(settings.CHAIN_ADDRESSES_FILE)
    return found


def earn(user: User, amount_wei: int, key: str) -> None:
    legs = [
        (system_account(Kind.CUSTODY), -amount_wei),
        (user_account(user, Kind.PAYABLE), amount_wei),
    ]
    post(key=key, kind="test", legs=legs, reason="Earned")


def link(user: User, name: str) -> str:
    address = to_checksum_address(keccak256(name.encode())[:20])
    Wallet.objects.create(user=user, address=address, chain_id=31337)
    return address


def close() -> Epoch:
    epoch = close_epoch(actor=None)
    Epoch.objects.filter(pk=epoch.pk).update(state=Epoch.State.ACTIVE)
    return epoch


def test_the_leaf_file_is_canonical_json_and_gives_the_root(
    addresses: Addresses, builder: User, contributor: User
) -> None:
    for person in (builder, contributor):
        link(person, person.display_name)
        earn(person, 10**20 + person.pk, f"earned {person.pk}")
    epoch = close()
    content = json.loads(leaf_file_of(epoch))
    whole = json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"
    assert leaf_file_of(epoch) == whole
    assert content["leaves"] == sorted(content["leaves"])
    assert content["total_wei"] == str(epoch.total_wei)
    assert "0x" + payout_tree(epoch.leaf_file).root.hex() == epoch.root == content["root"]


def test_who_has_no_wallet_keeps_accruing_and_is_paid_once_linked(
    addresses: Addresses, builder: User, contributor: User
) -> None:
    link(builder, "builder")
    earn(builder, 5, "a")
    earn(contributor, 7, "b")
    assert close().amount_wei == 5
    link(contributor, "contributor")
    epoch = close()
    assert (epoch.amount_wei, epoch.total_wei, epoch.leaves) == (7, 12, 2)


def test_the_longest_linked_wallet_is_paid(addresses: Addresses, builder: User) -> None:
    first = link(builder, "first")
    link(builder, "second")
    earn(builder, 5, "a")
    close()
    assert EpochPayout.objects.get().address == first


def test_a_wallet_that_was_unlinked_is_paid_no_more(addresses: Addresses, builder: User) -> None:
    link(builder, "first")
    Wallet.objects.update(unlinked_at=Now())
    second = link(builder, "second")
    earn(builder, 5, "a")
    close()
    assert EpochPayout.objects.get().address == second


def test_a_wallet_that_waits_is_paid_by_the_first_epoch_after_its_wait(
    addresses: Addresses, builder: User, contributor: User
) -> None:
    link(builder, "builder")
    waiting = link(contributor, "contributor")
    earn(builder, 5, "a")
    earn(contributor, 7, "b")
    tomorrow = timezone.now() + timedelta(days=1)
    Wallet.objects.filter(address=waiting).update(paid_from=tomorrow)
    assert close().amount_wei == 5
    Wallet.objects.filter(address=waiting).update(paid_from=Now())
    assert close().amount_wei == 7
    assert EpochPayout.objects.latest("pk").address == waiting


def test_who_links_another_wallet_is_paid_at_the_one_before_meanwhile(
    addresses: Addresses, builder: User
) -> None:
    link(builder, "first")
    Wallet.objects.update(paid_from=timezone.now() + timedelta(days=1))
    second = link(builder, "second")
    earn(builder, 5, "a")
    close()
    assert EpochPayout.objects.get().address == second


def recomputed_root(addresses: Addresses, number: int) -> str:
    """From the entries of the epochs' postings and the wallets: none of the epoch code."""
    wallets = dict(Wallet.objects.values_list("user_id", "address"))
    cumulative: dict[str, int] = defaultdict(int)
    keys = [f"epoch:{one}" for one in range(1, number + 1)]
    paid = Entry.objects.filter(transaction__key__in=keys, account__kind=Kind.CLAIMABLE)
    for owner_id, amount in paid.values_list("account__owner_id", "amount_wei"):
        cumulative[wallets[owner_id]] += int(amount)
    leaves = [
        payout_leaf(addresses.chain_id, addresses.distributor, address, wei)
        for address, wei in cumulative.items()
    ]
    return "0x" + MerkleTree(leaves).root.hex()


@pytest.mark.parametrize("epochs", [26, pytest.param(365, marks=pytest.mark.slow)])
def test_epochs_replay_to_the_same_roots(
    epochs: int, addresses: Addresses, owner: User, builder: User, contributor: User, reviewer: User
) -> None:
    draw, people = random.Random(1), [owner, builder, contributor, reviewer]
    for person in people:
        link(person, person.display_name)
    roots = {}
    for day in range(epochs):
        for person in draw.sample(people, draw.randint(1, len(people))):
            earn(person, draw.randint(1, 10**24), f"{day}:{person.pk}")
        roots[day + 1] = close().root
    assert len(set(roots.values())) == epochs
    for number in (1, 2, epochs // 2, epochs):
        assert recomputed_root(addresses, number) == roots[number]
    assert "0x" + payout_tree(Epoch.objects.get(pk=epochs).leaf_file).root.hex() == roots[epochs]
    assert {name: check() for name, check in _BOOK_CHECKS.items() if check()} == {}
