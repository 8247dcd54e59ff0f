"""Tokens of things on a real chain: made once, followed, and who is paid as the owner."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from eth_utils.crypto import keccak

from openledger_site.accounts.models import User, Wallet
from openledger_site.core.errors import DomainError
from rewards.chain.assets import transfer_asset_call
from rewards.models import Asset, AssetTransfer, ChainCursor, ChainTransaction
from rewards.selectors import subjects as stake_subjects
from rewards.selectors.assets import income_owner
from rewards.selectors.subjects import StakeSubject, register_stake_subject
from rewards.services import reconcile, register_asset, send_transactions, watch_chain
from rewards.services.assets import AssetExists
from rewards.services.sender import on_chain_id
from rewards.tests.conftest import Wallets, signed_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
ID, HIDDEN = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
SUBJECT = f"model:{ID}"
PAGE = f"/rewards/assets/model/{ID}/"
TOKEN = on_chain_id(SUBJECT)


@pytest.fixture(autouse=True)
def _things(owner: User) -> Iterator[None]:
    """An app above with two models, of which the second is hidden from everybody but its owner."""
    before = stake_subjects._describers["model"]

    def describe(user: Any, ids: Collection[UUID]) -> dict[UUID, tuple[str, str, int]]:
        seen = {ID, HIDDEN} if user == owner else {ID}
        return {each: ("Wound care", "/models/1/", owner.pk) for each in ids if str(each) in seen}

    register_stake_subject("model", describe)
    yield
    register_stake_subject("model", before)


def subject(owner: User) -> StakeSubject:
    return StakeSubject(SUBJECT, "Wound care", "/models/1/", owner.pk)


def see(wallets: Wallets) -> None:
    send_transactions()
    wallets.finalize()
    send_transactions()
    watch_chain()


@pytest.fixture
def made(wallets: Wallets, owner: User) -> tuple[Asset, Any]:
    """Olga's model as an asset in her wallet."""
    signer = wallets.new(1)
    wallets.link(owner, signer)
    register_asset(subject=subject(owner), maker=owner, address=signer.address, royalty_bps=250)
    see(wallets)
    return Asset.objects.get(), signer


def test_a_token_is_made_once_and_held_by_its_maker(
    made: tuple[Asset, Any], wallets: Wallets, owner: User
) -> None:
    asset, signer = made
    assert asset.holder == signer.address
    digest = wallets.client.read(
        wallets.addresses.assets, "metadataDigestOf(uint256)", [asset.number], ["bytes32"], "latest"
    )[0]
    served = Client().get(f"/rewards/assets/tokens/{asset.number}").content
    assert bytes(keccak(served)) == digest == bytes.fromhex(asset.metadata_digest[2:])
    assert json.loads(served)["name"] == "Wound care"
    with pytest.raises(AssetExists):
        register_asset(subject=subject(owner), maker=owner, address=signer.address, royalty_bps=0)


def test_the_owners_part_follows_the_token_to_a_linked_wallet(
    made: tuple[Asset, Any], wallets: Wallets, owner: User, stranger: User
) -> None:
    _, seller = made
    buyer = wallets.new()
    assert income_owner(SUBJECT, owner) == owner
    call = transfer_asset_call(wallets.addresses.assets, seller.address, buyer.address, TOKEN)
    wallets.send(seller, call)
    watch_chain()
    assert income_owner(SUBJECT, owner) == owner  # not final
    see(wallets)
    assert Asset.objects.get().holder == buyer.address
    assert income_owner(SUBJECT, owner) == owner  # linked to nobody: the one before keeps it
    wallets.link(stranger, buyer)
    assert income_owner(SUBJECT, owner) == stranger
    Wallet.objects.filter(user=stranger).delete()
    assert income_owner(SUBJECT, owner) == owner
    assert income_owner("model:another", stranger) == stranger
    assert reconcile().ok


def test_a_transfer_whose_block_left_the_chain_is_undone(
    made: tuple[Asset, Any], wallets: Wallets, owner: User
) -> None:
    _, seller = made
    buyer = wallets.new()
    call = transfer_asset_call(wallets.addresses.assets, seller.address, buyer.address, TOKEN)
    wallets.send(seller, call)
    see(wallets)
    last = AssetTransfer.objects.order_by("pk").last()
    assert last is not None
    # What the watcher finds after a reorganisation: another hash where it stood.
    AssetTransfer.objects.filter(pk=last.pk).update(block_hash="0x" + "1" * 64)
    ChainCursor.objects.update(block_hash="0x" + "2" * 64)
    watch_chain()
    states = dict(AssetTransfer.objects.filter(receiver=buyer.address).values_list("pk", "state"))
    assert states.pop(last.pk) == "voided"
    assert list(states.values()) == ["standing"]  # read again where it stands now
    assert Asset.objects.get().holder == buyer.address


def test_a_refused_making_may_be_asked_for_again(wallets: Wallets, owner: User) -> None:
    signer = wallets.new(1)
    wallets.link(owner, signer)
    given = {"subject": subject(owner), "maker": owner, "address": signer.address}
    asset = register_asset(**given, royalty_bps=0)
    ChainTransaction.objects.filter(pk=asset.chain_transaction_id).update(state="failed")
    renamed = replace(subject(owner), title="Another name")
    assert register_asset(**given | {"subject": renamed}, royalty_bps=100).pk == asset.pk
    see(wallets)
    again = Asset.objects.get()
    assert again.holder == signer.address
    assert (again.metadata, again.royalty_bps) == (asset.metadata, 0)  # sent as it was


def test_only_the_owner_asks_and_only_for_a_wallet_of_theirs(
    wallets: Wallets, owner: User, stranger: User
) -> None:
    signer = wallets.new(1)
    form = {"address": signer.address, "royalty": "2.5"}
    assert signed_in(stranger).post(f"{PAGE}register/", form).status_code == 404
    assert signed_in(owner).post(f"{PAGE}register/", form).status_code == 422
    with pytest.raises(DomainError, match="linked to your account"):
        register_asset(subject=subject(owner), maker=owner, address=signer.address, royalty_bps=0)
    wallets.link(owner, signer)
    assert signed_in(owner).post(f"{PAGE}register/", form | {"royalty": "11"}).status_code == 422
    assert signed_in(owner).post(f"{PAGE}register/", form).status_code == 302
    assert Asset.objects.get().royalty_bps == 250
    assert "being made" in signed_in(owner).get(PAGE).content.decode()


def test_hidden_and_unknown_things_answer_alike(made: tuple[Asset, Any], owner: User) -> None:
    assert "Wound care" in Client().get(PAGE).content.decode()
    assert Client().get(f"{PAGE}panel/").status_code == 200
    hidden = PAGE.replace(ID, HIDDEN)
    assert signed_in(owner).get(hidden).status_code == 200
    for path in (hidden, PAGE.replace(ID, ID[:-1] + "9"), "/rewards/assets/tokens/7"):
        assert Client().get(path).status_code == 404
    for number in ("abc", "-1", "9" * 90, "²"):
        assert Client().get(f"/rewards/assets/tokens/{number}").status_code == 404
    asset, _ = made
    register_stake_subject("model", lambda user, ids: {})
    assert Client().get(f"/rewards/assets/tokens/{asset.number}").status_code == 404
