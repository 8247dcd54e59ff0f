"""The explorer: sums over the books, look-ups that tell nothing hidden, and whose code it is."""

from __future__ import annotations

import pytest
from django.test import Client

from openledger_site.accounts.models import User
from rewards.chain.artifacts import CONTRACTS_FOLDER, artifact
from rewards.chain.client import ChainClient
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.local import LocalChain
from rewards.chain.verification import compare_code
from rewards.models import Account, Claim, ContractReading, Epoch, EpochPayout
from rewards.selectors import explorer
from rewards.services import (
    read_contracts,
    refund_answer,
    release_earnings,
)
from rewards.services.ledger import post, system_account
from rewards.tests.conftest import OPEN, Fund, Wallets, settled

pytestmark = pytest.mark.django_db
PAGE = "/rewards/explorer/"
ADDRESS = "0x" + "9" * 40
ROOT = "0x" + "ab" * 32


@pytest.fixture
def epoch(contributor: User) -> Epoch:
    """An epoch that paid Carla's address 5 wei, of which she claimed 2."""
    dust, custody = system_account(Account.Kind.DUST), system_account(Account.Kind.CUSTODY)
    row = post(key="epoch:7", kind="epoch", legs=[(dust, 5), (custody, -5)], reason="Epoch 7")
    made = Epoch.objects.create(
        number=7, root=ROOT, leaves=1, amount_wei=5, total_wei=5, leaf_file="cd" * 32,
        distributor="0x" + "1" * 40, chain_id=DEVELOPMENT_CHAIN_ID, transaction=row,
    )  # fmt: skip
    EpochPayout.objects.create(
        epoch=made, user=contributor, address=ADDRESS, amount_wei=5, cumulative_wei=5
    )
    Claim.objects.create(
        chain_id=DEVELOPMENT_CHAIN_ID, transaction_hash="0x" + "2" * 64, log_index=0,
        block_number=1, block_hash="0x" + "3" * 64, address=ADDRESS, amount_wei=2,
        state=Claim.State.UNKNOWN, cumulative_wei=2, root=ROOT,
    )  # fmt: skip
    return made


def test_figures_are_sums_over_answers_that_were_not_refunded(
    consumer: User, builder: User, contributor: User, fund: Fund
) -> None:
    fund(consumer, 3 * OPEN)
    for key in ("kept", "given back"):
        settled(consumer, builder, contributor, key)
    refund_answer("given back", reason="Broke off")
    found = explorer.network()
    assert (found.flow.answers, found.flow.fee_wei, found.people) == (1, OPEN, 2)
    flow = found.flow
    assert flow.contributors_wei == OPEN * 70 // 100
    assert flow.rest_wei == OPEN - flow.contributors_wei - flow.builder_wei - flow.stakers_wei
    assert [(line.answers, line.fee_wei) for line in found.months] == [(1, OPEN)]
    release_earnings()


def test_the_first_visitor_of_an_empty_network_reads_words(client: Client) -> None:
    page = client.get(PAGE).content.decode()
    assert "No epoch yet" in page
    assert "No version of a Datanet that you may see is anchored yet" in page


@pytest.mark.parametrize("sought", ["7", ROOT, ROOT.upper().replace("0X", "0x"), "cd" * 32])
def test_an_epoch_is_found_by_number_root_and_leaf_list(
    client: Client, epoch: Epoch, sought: str
) -> None:
    assert client.get(PAGE, {"q": f" {sought} "}).headers["Location"] == "/rewards/epochs/7/"


def test_an_address_that_was_paid_shows_what_the_leaf_lists_show(
    client: Client, epoch: Epoch, contributor: User
) -> None:
    place = client.get(PAGE, {"q": ADDRESS}).headers["Location"]
    page = client.get(place).content.decode()
    assert 'title="5 wei"' in page
    assert 'title="2 wei"' in page
    assert 'title="3 wei"' in page
    assert contributor.display_name not in page


@pytest.mark.parametrize("sought", ["8", "0x" + "0" * 64, "0x" + "1" * 40, "what", "9" * 80])
def test_what_is_not_there_is_said_in_words(client: Client, epoch: Epoch, sought: str) -> None:
    answered = client.get(PAGE, {"q": sought})
    assert answered.status_code == 200
    assert "Nothing found" in answered.content.decode()
    assert client.get(f"{PAGE}addresses/{sought}/").status_code == 404


def test_contracts_are_ours_to_the_byte(client: Client, wallets: Wallets) -> None:
    assert "Not compared yet" in client.get(f"{PAGE}contracts/").content.decode()
    named = wallets.addresses.by_name()
    assert (
        read_contracts()
        == read_contracts()
        == len(named)
        == len(list((CONTRACTS_FOLDER / "artifacts").glob("*.json")))
    )
    readings = ContractReading.objects.all()
    assert {one.name for one in readings if one.is_same_code} == set(named)
    page = client.get(f"{PAGE}contracts/").content.decode()
    assert page.count("Same as ours") == len(named)
    assert client.get(PAGE, {"q": wallets.addresses.token}).headers["Location"].endswith(
        "/contracts/"
    )  # fmt: skip


def test_another_contract_at_our_address_differs(wallets: Wallets) -> None:
    client = wallets.client
    creation = artifact("CumulativeMerkleDistributor").bytecode
    deployed = client.code_of(wallets.addresses.distributor)
    found = compare_code(deployed, creation)
    assert found.is_same
    assert found.constants > 0  # the token is fixed for good when it is created
    assert not compare_code(client.code_of(wallets.addresses.escrow), creation).is_same
    assert not compare_code(b"", creation).is_same
    for at in range(0, len(deployed), 97):
        if deployed[at] == creation[at - len(deployed)]:  # not inside of such a constant
            other = deployed[:at] + bytes([deployed[at] ^ 1]) + deployed[at + 1 :]
            assert not compare_code(other, creation).is_same or _in_constant(creation, deployed, at)


def _in_constant(creation: bytes, deployed: bytes, at: int) -> bool:
    """A byte of a filled-in constant may happen to be zero."""
    start = len(creation) - len(deployed)
    return any(
        creation[start + first - 1] == 0x7F and not any(creation[start + first :][:32])
        for first in range(max(1, at - 31), at + 1)
    )


def test_nothing_is_compared_with_a_chain_that_is_not_ours(local_chain: LocalChain) -> None:
    assert ChainClient(local_chain.url, DEVELOPMENT_CHAIN_ID).code_of(ADDRESS) == b""
    assert not ContractReading.objects.exists()
