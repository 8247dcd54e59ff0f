"""Gas paid in OPEN on a real chain: quoted before, held, taken at what it cost, never at a loss."""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.db.models.functions import Now
from eth_account import Account as KeyAccount
from eth_account.signers.local import LocalAccount
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from rewards.chain.calls import approve_call, transfer_call
from rewards.chain.errors import CallReverted
from rewards.chain.staking import (
    add_income_call,
    collect_income_call,
    start_unbonding_call,
    take_out_call,
    target_id,
)
from rewards.chain.transactions import Fees, Signer
from rewards.models import Account, ChainCursor, ChainTransaction, Hold, Relay
from rewards.selectors import spendable_wei
from rewards.selectors.relays import relay_books
from rewards.services import InsufficientFunds, reconcile, relay, send_transactions, watch_chain
from rewards.services.chain import relay_signer
from rewards.services.ledger import system_account
from rewards.services.reconcile import _BOOK_CHECKS
from rewards.services.relay_checks import (
    QuoteOver,
    RelayAway,
    RelayRefused,
    RelayUnderWay,
    TooManyRelays,
)
from rewards.services.relay_settlement import settle_relays
from rewards.tests.conftest import OPEN, Wallets
from rewards.tests.relaying import ask, order, poor_wallet, sign_quote, until_final

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
TARGET = target_id("datanet:1")
State = Relay.State


@pytest.fixture
def wallet(wallets: Wallets, consumer: User) -> LocalAccount:
    """Quinn's, with 100 OPEN and not a wei of ETH."""
    return poor_wallet(wallets, consumer, 100 * OPEN)


@pytest.fixture
def funded(wallets: Wallets, consumer: User, wallet: LocalAccount) -> LocalAccount:
    """The same, after a first deposit of 10 OPEN that paid for itself."""
    order(consumer, wallet, "deposit", amount="10")
    until_final(wallets)
    return wallet


def relayer_eth(wallets: Wallets) -> int:
    signer = relay_signer()
    assert signer is not None
    return wallets.client.native_balance_of(signer.address)


def staked(wallets: Wallets, account: str) -> int:
    arguments: list[object] = [bytes.fromhex(TARGET[2:]), account]
    at, signature = wallets.addresses.staking, "bondedOf(bytes32,address)"
    return int(wallets.client.read(at, signature, arguments, ["uint256"], "latest")[0])


def test_a_first_deposit_pays_its_own_fee_and_costs_the_relayer_nothing(
    wallets: Wallets, consumer: User, wallet: LocalAccount
) -> None:
    before = relayer_eth(wallets)
    quote = ask(consumer, wallet, "deposit", amount="10")
    assert quote.is_from_deposit
    sent = relay(user=consumer, quote=quote.token, signature=sign_quote(wallet, quote))
    until_final(wallets)
    sent.refresh_from_db()
    assert sent.state == State.DONE
    assert 0 < sent.fee_wei == sent.cost_wei < quote.terms.most_wei
    assert spendable_wei(consumer) == 10 * OPEN - sent.fee_wei
    assert system_account(Account.Kind.RELAY).balance_wei == sent.fee_wei
    assert sent.fee_wei == (before - relayer_eth(wallets)) * sent.open_per_eth
    assert wallets.client.native_balance_of(wallet.address) == 0
    assert reconcile().ok


def test_what_leaves_a_stake_is_taken_from_its_own_wallet_only(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    """Why none of it is relayed: sent by the relayer, each is about the relayer's own stake."""
    order(consumer, funded, "stake", amount="7", target=TARGET)
    until_final(wallets)
    staking, target = wallets.addresses.staking, bytes.fromhex(TARGET[2:])
    giver, owner = wallets.new(5), Signer(funded.key, wallets.addresses.chain_id)
    wallets.send(giver, approve_call(wallets.addresses.token, staking, OPEN))
    wallets.send(giver, add_income_call(staking, target, OPEN))
    wallets.client.request("anvil_setBalance", owner.address, hex(10**18))
    wallets.send(owner, start_unbonding_call(staking, target, 1_000))
    relayer = relay_signer()
    assert relayer is not None
    for call, refusal in (
        (start_unbonding_call(staking, target, 1_000), "NotEnoughStake"),
        (take_out_call(staking, 1), "UnbondingUnknown"),
        (collect_income_call(staking, target), "NothingToMove"),
    ):
        with pytest.raises(CallReverted, match=refusal):
            wallets.client.estimate_gas(relayer.address, call)
    assert wallets.client.estimate_gas(owner.address, start_unbonding_call(staking, target, 1_000))
    assert wallets.client.estimate_gas(owner.address, collect_income_call(staking, target))
    with pytest.raises(CallReverted, match="UnbondingRuns"):  # its own, and not over yet
        wallets.client.estimate_gas(owner.address, take_out_call(staking, 1))
    for action in ("unbond", "take-out", "income"):
        with pytest.raises(RelayRefused, match="cannot be sent for you"):
            ask(consumer, funded, action, target=TARGET)


def test_a_stake_is_paid_from_the_balance(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    before = spendable_wei(consumer)
    sent = order(consumer, funded, "stake", amount="7", target=TARGET)
    assert spendable_wei(consumer) == before - sent.quoted_wei  # held until it is known
    until_final(wallets)
    sent.refresh_from_db()
    assert staked(wallets, funded.address) == 7 * OPEN
    assert spendable_wei(consumer) == before - sent.fee_wei
    assert relay_books().surplus_wei == 0
    assert reconcile().ok


def test_a_delegation_is_sent_too(wallets: Wallets, consumer: User, funded: LocalAccount) -> None:
    order(consumer, funded, "delegate", delegatee="")
    until_final(wallets)
    at, signature = wallets.addresses.token, "getVotes(address)"
    votes = wallets.client.read(at, signature, [funded.address], ["uint256"], "latest")[0]
    assert votes == 90 * OPEN


def test_a_quote_works_once_and_a_repeat_finds_it(
    wallets: Wallets, consumer: User, funded: LocalAccount, settings: Settings
) -> None:
    quote = ask(consumer, funded, "stake", amount="7", target=TARGET)
    signature = sign_quote(funded, quote)
    first = relay(user=consumer, quote=quote.token, signature=signature)
    settings.RELAY_QUOTE_SECONDS = -1
    assert relay(user=consumer, quote=quote.token, signature=signature) == first
    until_final(wallets)
    assert relay(user=consumer, quote=quote.token, signature=signature) == first
    assert staked(wallets, funded.address) == 7 * OPEN
    assert ChainTransaction.objects.filter(purpose="relay").count() == 2


def test_what_is_refused_costs_nothing(
    wallets: Wallets, consumer: User, stranger: User, funded: LocalAccount, settings: Settings
) -> None:
    with pytest.raises(RelayRefused, match="Link this wallet"):
        ask(stranger, funded, "stake", amount="7", target=TARGET)
    with pytest.raises(RelayRefused, match="less OPEN"):
        ask(consumer, funded, "stake", amount="91", target=TARGET)
    quote = ask(consumer, funded, "stake", amount="7", target=TARGET)
    with pytest.raises(RelayRefused, match="not by that wallet"):
        relay(user=consumer, quote=quote.token, signature=sign_quote(KeyAccount.create(), quote))
    with pytest.raises(RelayRefused, match="65 bytes"):
        relay(user=consumer, quote=quote.token, signature="yes")
    with pytest.raises(QuoteOver):
        relay(user=stranger, quote=quote.token, signature=sign_quote(funded, quote))
    settings.RELAY_QUOTE_SECONDS = -1
    with pytest.raises(QuoteOver):
        relay(user=consumer, quote=quote.token, signature=sign_quote(funded, quote))
    assert Relay.objects.count() == 1
    assert not Hold.objects.filter(state=Hold.State.PENDING).exists()


def test_limits_the_switch_and_a_relayer_without_eth_refuse_in_words(
    wallets: Wallets, consumer: User, funded: LocalAccount, settings: Settings
) -> None:
    quote = ask(consumer, funded, "stake", amount="7", target=TARGET)
    signer = relay_signer()
    assert signer is not None
    wallets.client.request("anvil_setBalance", signer.address, "0x1")
    with pytest.raises(RelayAway, match="at the moment"):
        relay(user=consumer, quote=quote.token, signature=sign_quote(funded, quote))
    wallets.client.request("anvil_setBalance", signer.address, hex(10**21))
    for name in ("RELAY_PER_PERSON_A_DAY", "RELAY_PER_DAY"):
        before = getattr(settings, name)
        setattr(settings, name, 1)
        with pytest.raises(TooManyRelays, match="tomorrow"):
            relay(user=consumer, quote=quote.token, signature=sign_quote(funded, quote))
        setattr(settings, name, before)
    settings.RELAY_ENABLED = False
    with pytest.raises(RelayAway):
        relay(user=consumer, quote=quote.token, signature=sign_quote(funded, quote))


def test_a_wallet_has_one_on_its_way_at_a_time(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    order(consumer, funded, "stake", amount="7", target=TARGET)
    with pytest.raises(RelayUnderWay):
        order(consumer, funded, "stake", amount="8", target=TARGET)
    until_final(wallets)
    order(consumer, funded, "stake", amount="8", target=TARGET)


def test_a_first_deposit_is_sent_only_out_of_the_reserve(
    wallets: Wallets, consumer: User, wallet: LocalAccount, settings: Settings
) -> None:
    settings.RELAY_RESERVE_WEI = 0
    with pytest.raises(InsufficientFunds, match="pay for its own"):
        ask(consumer, wallet, "deposit", amount="10")
    with pytest.raises(InsufficientFunds, match="Deposit OPEN"):
        ask(consumer, wallet, "stake", amount="10", target=TARGET)


def test_whose_deposit_paid_nothing_has_a_balance_before_the_next(
    wallets: Wallets, consumer: User, wallet: LocalAccount
) -> None:
    """The wallet was unlinked while it was on its way, so there was nobody to take the fee from."""
    sent = order(consumer, wallet, "deposit", amount="10")
    Wallet.objects.update(unlinked_at=Now())
    until_final(wallets)
    sent.refresh_from_db()
    assert (sent.state, sent.fee_wei) == (State.DONE, 0)
    Wallet.objects.update(unlinked_at=None)
    with pytest.raises(InsufficientFunds, match="pay for its own"):
        ask(consumer, wallet, "deposit", amount="10")


def test_what_is_refused_when_it_is_signed_is_dropped_and_its_hold_freed(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    """The wallet was emptied between the order and its turn."""
    before = spendable_wei(consumer)
    sent = order(consumer, funded, "stake", amount="90", target=TARGET)
    empty(wallets, funded)
    until_final(wallets)
    sent.refresh_from_db()
    assert (sent.state, sent.cost_wei, sent.fee_wei) == (State.DROPPED, 0, 0)
    assert spendable_wei(consumer) == before


def empty(wallets: Wallets, key: LocalAccount) -> None:
    wallets.client.request("anvil_setBalance", key.address, hex(10**18))
    signer = Signer(key.key, wallets.addresses.chain_id)
    balance = wallets.client.balance_of(wallets.addresses.token, key.address)
    wallets.send(signer, transfer_call(wallets.addresses.token, "0x" + "77" * 20, balance))


def test_what_reverts_in_its_block_pays_its_gas(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    """The wallet was emptied after the transaction left: gas is spent, and paid for."""
    before, eth = spendable_wei(consumer), relayer_eth(wallets)
    sent = order(consumer, funded, "stake", amount="90", target=TARGET)
    in_the_pool(wallets, funded)
    until_final(wallets)
    sent.refresh_from_db()
    assert sent.state == State.REVERTED
    assert sent.fee_wei == sent.cost_wei == (eth - relayer_eth(wallets)) * sent.open_per_eth > 0
    assert spendable_wei(consumer) == before - sent.fee_wei
    assert staked(wallets, funded.address) == 0
    assert reconcile().ok


def in_the_pool(wallets: Wallets, key: LocalAccount) -> None:
    """Our transaction waits for a block while a quicker one empties the wallet."""
    token = wallets.addresses.token
    wallets.client.request("anvil_setBalance", key.address, hex(10**18))
    wallets.client.request("evm_setAutomine", False)
    try:
        send_transactions()
        quick = Signer(key.key, wallets.addresses.chain_id).sign(
            transfer_call(token, "0x" + "77" * 20, 90 * OPEN),
            nonce=0, gas_limit=200_000, fees=Fees(10**12, 10**11),
        )  # fmt: skip
        wallets.client.send_raw(quick.raw)
        wallets.client.request("evm_mine")
    finally:
        wallets.client.request("evm_setAutomine", True)


def test_a_first_deposit_that_fails_is_the_last_that_is_tried_for_its_person(
    wallets: Wallets, consumer: User, wallet: LocalAccount, settings: Settings
) -> None:
    sent = order(consumer, wallet, "deposit", amount="50")
    in_the_pool(wallets, wallet)
    until_final(wallets)
    sent.refresh_from_db()
    assert (sent.state, sent.fee_wei) == (State.REVERTED, 0)
    assert -settings.RELAY_RESERVE_WEI < relay_books().surplus_wei < 0
    with pytest.raises(InsufficientFunds, match="pay for its own"):
        ask(consumer, wallet, "deposit", amount="1")


class Killed(BaseException):
    """As `kill -9`: nothing catches it, and what was not committed is gone."""


CRASH_POINTS = [
    "relays.queue_transaction",  # the fee is held, not committed
    "relays.record_audit",  # the row is written, not committed
    "relays.send_on_commit",  # queued, not committed
    "sender._store",  # signed, not stored
    "sender._broadcast",  # stored, not sent
    "sender._book_receipt",  # mined, not noted
    "deposits.hold_fee_of",  # credited, its fee not held, neither committed
    "relay_settlement.place_hold",  # the same, one step later
    "relay_settlement.post",  # final, not paid
    "relay_settlement.Now",  # paid, not committed
]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_crash_anywhere_ends_in_one_deposit_and_one_fee(
    wallets: Wallets, consumer: User, wallet: LocalAccount, point: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    quote = ask(consumer, wallet, "deposit", amount="10")
    signature = sign_quote(wallet, quote)

    def go_on() -> Relay:
        sent = relay(user=consumer, quote=quote.token, signature=signature)
        until_final(wallets)
        return sent

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(f"rewards.services.{point}", die)
        with pytest.raises(Killed):
            go_on()
    for _ in range(2):
        sent = go_on()
    sent.refresh_from_db()
    assert (sent.state, sent.fee_wei) == (State.DONE, sent.cost_wei)
    assert spendable_wei(consumer) == 10 * OPEN - sent.fee_wei
    assert wallets.client.balance_of(wallets.addresses.token, wallet.address) == 90 * OPEN
    assert relay_books().surplus_wei == 0
    assert reconcile().ok


def test_a_block_that_left_the_chain_is_made_again_and_paid_once(
    wallets: Wallets, consumer: User, wallet: LocalAccount
) -> None:
    snapshot = wallets.client.request("evm_snapshot")
    sent = order(consumer, wallet, "deposit", amount="10")
    until_final(wallets)
    sent.refresh_from_db()
    paid = sent.fee_wei
    wallets.client.request("evm_revert", snapshot)  # as after a kill -9: the chain is behind
    wallets.chain.mine(4)
    watch_chain()
    for _ in range(2):
        until_final(wallets)
    assert spendable_wei(consumer) == 10 * OPEN - paid
    assert system_account(Account.Kind.RELAY).balance_wei == paid
    assert system_account(Account.Kind.REORG_DEBT).balance_wei == 0
    assert reconcile().ok


def test_the_relayer_never_ends_below_zero_whatever_the_price_of_gas(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    """Measured: what it spent in ETH at the rate, against what it earned, at random base fees."""
    dice, start = random.Random(41), relayer_eth(wallets)
    earned_before = relay_books().earned_wei
    for step in range(8):
        base_fee = int(10 ** dice.uniform(0, 11))
        wallets.client.request("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
        wallets.client.request("evm_mine")
        try:
            order(consumer, funded, "stake", amount=f"1.{step}", target=TARGET)
        except InsufficientFunds:
            continue
        later = int(10 ** dice.uniform(0, 11))  # whatever it is once the order has its turn
        wallets.client.request("anvil_setNextBlockBaseFeePerGas", hex(later))
        wallets.client.request("evm_mine")
        until_final(wallets)
    books = relay_books()
    spent = (start - relayer_eth(wallets)) * 20
    assert books.earned_wei - earned_before >= spent > 0
    assert books.surplus_wei == 0
    states = set(Relay.objects.values_list("state", flat=True))
    assert State.DONE in states
    assert State.PENDING not in states
    assert reconcile().ok


def test_a_first_deposit_waits_for_the_watcher_of_its_own_chain(
    wallets: Wallets, consumer: User, wallet: LocalAccount
) -> None:
    ChainCursor.objects.create(
        chain_id=1, escrow="", block_number=10**9, block_hash=""
    )  # the site served another chain before
    sent = order(consumer, wallet, "deposit", amount="10")
    send_transactions()
    wallets.finalize()
    send_transactions()
    assert settle_relays() == 0  # final, and not credited yet: there is nothing to pay from
    watch_chain()
    assert settle_relays() == 1
    sent.refresh_from_db()
    assert sent.fee_wei == sent.cost_wei


def test_a_fee_taken_between_two_reads_is_no_difference(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    sent = order(consumer, funded, "stake", amount="7", target=TARGET)
    send_transactions()
    wallets.finalize()
    send_transactions()

    def settle() -> None:
        settle_relays()
        connections.close_all()

    def and_then_settle(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        found = execute(sql, *arguments)
        if "rewards_account" in sql:
            other = Thread(target=settle)
            other.start()
            other.join()
        return found

    with connection.execute_wrapper(and_then_settle):
        problems = _BOOK_CHECKS["I12"]()
    assert problems == []
    sent.refresh_from_db()
    assert sent.state == State.DONE


def test_a_fee_that_is_not_its_posting_shows_in_the_books(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rewards_relay DISABLE TRIGGER USER")
        cursor.execute("UPDATE rewards_relay SET fee_wei = fee_wei - 1")
        cursor.execute("ALTER TABLE rewards_relay ENABLE TRIGGER USER")
    assert len(reconcile().problems["I12"]) == 2


def test_what_has_ended_stays_as_it_ended(
    wallets: Wallets, consumer: User, funded: LocalAccount
) -> None:
    for change in ({"fee_wei": 1}, {"state": "pending"}, {"quoted_wei": 1}):
        with pytest.raises(Exception, match=r"ended|terms|Cannot"), transaction.atomic():
            Relay.objects.update(**change)
    with pytest.raises(IntegrityError, match="kept"), transaction.atomic():
        Relay.objects.get().delete()
    assert settle_relays() == 0
