"""Grants on a real chain: followed once, undone with their block, shown and released."""

from __future__ import annotations

import re
import time

import pytest
from django.core.management import call_command
from django.test import Client

from openledger_site.accounts.models import User
from rewards.chain.calls import ContractCall, transfer_call
from rewards.chain.governance_deployment import holds_role
from rewards.chain.transactions import Signer
from rewards.chain.vesting import hand_over_call, read_grant, release_call
from rewards.models import ChainCursor, ChainTransaction, VestingEvent, VestingGrant
from rewards.selectors.vesting import grants_of, unlocks
from rewards.services import reconcile, send_transactions, watch_chain
from rewards.services.chain import operator_signer
from rewards.services.dev_chain import grant_test_open
from rewards.tests.conftest import OPEN, Wallets, signed_in
from rewards.vesting import Schedule

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
DAY = 86_400
PAGE, EARNINGS = "/rewards/explorer/unlocks/", "/rewards/earnings/"


def schedule(began_days_ago: int, days: int = 400, cliff_days: int = 100) -> Schedule:
    return Schedule(int(time.time()) - began_days_ago * DAY, cliff_days * DAY, days * DAY)


def see(wallets: Wallets) -> None:
    wallets.finalize()
    watch_chain()


@pytest.fixture
def carla(wallets: Wallets, contributor: User) -> Signer:
    signer = wallets.new()
    wallets.link(contributor, signer)
    return signer


@pytest.fixture
def grant(wallets: Wallets, carla: Signer) -> VestingGrant:
    """400 OPEN for Carla, about half of which are unlocked."""
    grant_test_open(carla.address, 400 * OPEN, schedule(200))
    see(wallets)
    return VestingGrant.objects.get()


def release(wallets: Wallets, grant: VestingGrant) -> ContractCall:
    return release_call(grant.wallet, wallets.addresses.token)


def test_a_vote_and_the_first_supply_may_grant_and_nobody_else(
    wallets: Wallets, carla: Signer
) -> None:
    at, client = wallets.addresses, wallets.client
    for granter in (at.timelock, operator_signer().address):
        assert holds_role(client, at.vesting, "GRANTER_ROLE", granter)
    assert not holds_role(client, at.vesting, "GRANTER_ROLE", carla.address)


def test_a_grant_is_followed_once_it_is_final_and_once_only(
    wallets: Wallets, carla: Signer
) -> None:
    grant_test_open(carla.address, 400 * OPEN, schedule(200))
    watch_chain()
    assert not VestingGrant.objects.exists()  # not final
    see(wallets)
    ChainCursor.objects.update(block_number=wallets.addresses.deployed_block - 1, block_hash="")
    watch_chain()  # from the beginning again
    grant = VestingGrant.objects.get()
    assert (grant.owner, grant.amount_wei) == (carla.address, 400 * OPEN)
    assert (grant.allocation_wei, grant.released_wei) == (400 * OPEN, 0)
    assert [event.kind for event in VestingEvent.objects.all()] == ["received"]
    assert reconcile().ok


def test_releases_gifts_and_hand_overs_change_what_is_shown(
    grant: VestingGrant, wallets: Wallets, carla: Signer, contributor: User, stranger: User
) -> None:
    buyer = wallets.new(50)
    wallets.link(stranger, buyer)
    wallets.send(buyer, release(wallets, grant))  # anybody may send it
    wallets.send(buyer, transfer_call(wallets.addresses.token, grant.wallet, 40 * OPEN))
    wallets.send(carla, hand_over_call(grant.wallet, buyer.address))
    see(wallets)
    assert not grants_of(contributor)
    (figures,) = grants_of(stranger)
    read = read_grant(wallets.client, wallets.addresses.token, grant.wallet, "latest")
    assert figures.grant.released_wei == read.released_wei > 199 * OPEN
    assert figures.grant.allocation_wei == read.allocation_wei == 440 * OPEN
    assert wallets.client.balance_of(wallets.addresses.token, carla.address) >= read.released_wei
    kinds = VestingEvent.objects.order_by("block_number", "log_index").values_list(
        "kind", flat=True
    )
    assert list(kinds) == ["received", "released", "received", "handed_over"]


def test_a_release_whose_block_left_the_chain_is_undone_and_read_again(
    grant: VestingGrant, wallets: Wallets, carla: Signer
) -> None:
    wallets.send(carla, release(wallets, grant))
    see(wallets)
    lost = VestingEvent.objects.get(kind="released")
    # What the watcher finds after a reorganisation: another hash where it stood.
    VestingEvent.objects.filter(pk=lost.pk).update(block_hash="0x" + "1" * 64)
    VestingGrant.objects.update(released_wei=1, is_stale=False)
    ChainCursor.objects.update(block_hash="0x" + "2" * 64)
    watch_chain()
    states = dict(VestingEvent.objects.filter(kind="released").values_list("pk", "state"))
    assert states.pop(lost.pk) == "voided"
    assert list(states.values()) == ["standing"]
    assert VestingGrant.objects.get().released_wei == lost.amount_wei


def test_a_release_that_never_comes_back_is_counted_no_more(
    grant: VestingGrant, wallets: Wallets, carla: Signer
) -> None:
    wallets.deposit(carla, 1)  # the newest event that stays: reading goes on after it
    see(wallets)
    lost = VestingEvent.objects.create(
        chain_id=grant.chain_id, transaction_hash="0x" + "5" * 64, log_index=0,
        block_number=ChainCursor.objects.get().block_number, block_hash="0x" + "1" * 64,
        kind="released", wallet=grant.wallet, amount_wei=7,
    )  # fmt: skip
    VestingGrant.objects.update(released_wei=7, is_stale=False)
    ChainCursor.objects.update(block_hash="0x" + "2" * 64)
    watch_chain()
    lost.refresh_from_db()
    assert lost.state == "voided"
    assert VestingGrant.objects.get().released_wei == 0


def test_a_grant_whose_block_left_the_chain_is_shown_no_more(
    grant: VestingGrant, wallets: Wallets, contributor: User
) -> None:
    VestingGrant.objects.update(block_hash="0x" + "1" * 64, transaction_hash="0x" + "3" * 64)
    ChainCursor.objects.update(block_hash="0x" + "2" * 64)
    watch_chain()
    assert VestingGrant.objects.get(pk=grant.pk).state == "voided"
    (figures,) = grants_of(contributor)  # as it stands on the chain now
    assert figures.grant.pk != grant.pk
    assert unlocks().granted_wei == 400 * OPEN


def test_the_first_visitor_reads_that_nothing_was_granted(wallets: Wallets) -> None:
    page = Client().get(PAGE)
    assert page.status_code == 200
    assert "Nothing was granted yet" in page.content.decode()
    assert "Granted to you" not in signed_in(User.objects.create_user("a@b.example")).get(
        EARNINGS
    ).content.decode()  # fmt: skip


def test_chart_and_table_show_the_same_months(grant: VestingGrant) -> None:
    page = Client().get(PAGE).content.decode()
    chart = re.findall(
        r'<rect class="fill-[13]" x="(\d+)" y="\d+" width="0.9" height="(\d+)"', page
    )
    months = re.findall(r'datetime="\d{4}-\d{2}">', page)
    assert len(chart) == len(months) == len(unlocks().bars)
    assert chart[-1][1] == "1000"  # all of it at the end
    assert sum(bar.month.added_wei for bar in unlocks().bars) == 400 * OPEN
    assert page.count(f'title="{400 * OPEN:,} wei"') >= 2


def test_figures_now_are_those_of_the_contract(grant: VestingGrant, wallets: Wallets) -> None:
    signature, at = "vestedAmount(address,uint64)", int(time.time())
    asked = [wallets.addresses.token, at]
    (on_chain,) = wallets.client.read(grant.wallet, signature, asked, ["uint256"], "latest")
    found = unlocks()
    assert on_chain <= found.unlocked_wei <= grant.schedule.unlocked_wei(400 * OPEN, at + 60)
    assert found.unlocked_wei + found.locked_wei == found.granted_wei == 400 * OPEN


def test_an_owner_lets_the_site_send_it_once_a_day(
    grant: VestingGrant, wallets: Wallets, carla: Signer, contributor: User
) -> None:
    before = wallets.client.balance_of(wallets.addresses.token, carla.address)
    path = f"/rewards/grants/{grant.wallet}/release/"
    person = signed_in(contributor)
    assert "Let the site send it" in person.get(EARNINGS).content.decode()
    assert person.post(path).status_code == person.post(path).status_code == 302
    assert ChainTransaction.objects.filter(purpose="release").count() == 1
    assert "The site sends today" in person.get(EARNINGS).content.decode()
    send_transactions()
    see(wallets)
    paid = wallets.client.balance_of(wallets.addresses.token, carla.address) - before
    assert paid == VestingGrant.objects.get().released_wei > 199 * OPEN
    assert person.post(path).status_code == 409  # less than 1 OPEN is left


def test_only_whom_a_grant_pays_may_ask_and_only_when_something_is_unlocked(
    grant: VestingGrant, wallets: Wallets, carla: Signer, contributor: User, stranger: User
) -> None:
    path = f"/rewards/grants/{grant.wallet}/release/"
    assert signed_in(stranger).post(path).status_code == 404
    assert signed_in(stranger).post(path.replace(grant.wallet, "0x1")).status_code == 404
    assert signed_in(contributor).get(path).status_code == 405
    grant_test_open(carla.address, OPEN, schedule(1))
    see(wallets)
    locked = VestingGrant.objects.get(amount_wei=OPEN)
    answered = signed_in(contributor).post(f"/rewards/grants/{locked.wallet}/release/")
    assert answered.status_code == 409
    assert "once 1 OPEN or more is unlocked" in answered.content.decode()


def test_the_page_of_a_release_says_when_the_site_has_read_it(
    grant: VestingGrant, wallets: Wallets, carla: Signer, contributor: User, stranger: User
) -> None:
    sent = wallets.send(carla, release(wallets, grant)).transaction_hash
    path = f"/rewards/grants/state/?transaction={sent}"
    assert "data-live-done" not in signed_in(contributor).get(path).content.decode()
    see(wallets)
    assert "data-live-done" in signed_in(contributor).get(path).content.decode()
    assert "data-live-done" not in signed_in(stranger).get(path).content.decode()


def test_a_grant_is_made_by_command_and_found_by_its_address(
    wallets: Wallets, carla: Signer
) -> None:
    call_command("dev_grant", carla.address, "12.5", "--days", "10", "--cliff-days", "1")
    see(wallets)
    grant = VestingGrant.objects.get()
    assert grant.amount_wei == 125 * OPEN // 10
    found = Client().get("/rewards/explorer/", {"q": grant.wallet})
    assert found.headers["Location"] == PAGE


def test_reconcile_finds_a_grant_or_an_event_that_is_not_as_the_chain_says(
    wallets: Wallets, carla: Signer, grant: VestingGrant
) -> None:
    wallets.send(carla, release(wallets, grant))
    give = wallets.new(3)
    wallets.send(give, transfer_call(wallets.addresses.token, grant.wallet, OPEN))
    wallets.send(carla, hand_over_call(grant.wallet, give.address))
    see(wallets)
    report = reconcile()
    assert report.ok, report.as_dict()
    kept = VestingGrant.objects.get()
    event = VestingEvent.objects.get(kind="released")
    for row, changed in (
        (kept, {"amount_wei": 401 * OPEN}),
        (kept, {"beneficiary": give.address}),
        (kept, {"duration_seconds": kept.duration_seconds + 1}),
        (kept, {"released_wei": kept.released_wei - 1}),
        (kept, {"owner": carla.address}),
        (event, {"amount_wei": event.amount_wei + 1}),
        (event, {"state": "voided"}),
    ):
        table = type(row)._default_manager.filter(pk=row.pk)
        before = {name: getattr(row, name) for name in changed}
        table.update(**changed)
        assert len(reconcile().problems["I11"]) == 1, changed
        table.update(**before)
    assert not reconcile().problems["I11"]
