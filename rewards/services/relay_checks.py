"""What is refused before anything is sent for somebody, in words that say what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from openledger_site.accounts.models import User
from openledger_site.accounts.selectors import linked_wallet
from openledger_site.core.errors import Conflict, DomainError, Unavailable
from openledger_site.core.money import format_open
from rewards.chain.calls import ContractCall
from rewards.chain.contracts import Addresses
from rewards.chain.errors import CallReverted, ChainError
from rewards.models import Deposit, Relay
from rewards.relay_fees import FeeTerms
from rewards.selectors import spendable_wei
from rewards.selectors.relays import relay_books
from rewards.services.chain import chain_client, contract_addresses, relay_signer
from rewards.services.ledger import InsufficientFunds
from rewards.services.relay_actions import ACTIONS, Params, RelayAction

IN_WORDS = {
    "SlashWaits": "A slash of this target is open. Until it is decided nobody enters or leaves.",
    "StakeTooSmall": "Stake at least 1 OPEN at once.",
    "ERC20InsufficientBalance": "This wallet holds less OPEN than that.",
    "NothingToClaim": "This was claimed already.",
    "RootNotAccepted": "This payout is no longer the newest. Reload the page and claim again.",
    "GovernorAlreadyCastVote": "This wallet has voted on this already. A vote cannot be changed.",
    "GovernorUnexpectedProposalState": "The vote is not open.",
}


class RelayAway(Unavailable):
    code = "relay_unavailable"
    message = "The network fee cannot be paid in OPEN at the moment. Pay it in ETH, or try later."


class RelayRefused(DomainError):
    """Nothing was sent, and nothing was paid."""

    code = "relay_refused"


class RelayUnderWay(Conflict):
    code = "relay_under_way"
    message = "Another transaction of this wallet is on its way. Wait until it is final."


class TooManyRelays(DomainError):
    status = 429
    code = "too_many_relays"


class QuoteOver(DomainError):
    code = "quote_over"
    message = "This fee is no longer offered. Ask for it again, then sign."


@dataclass(frozen=True)
class Order:
    """A quote that was read back, or one that is being made."""

    user: User
    action: str
    account: str
    params: Params
    terms: FeeTerms

    @property
    def how(self) -> RelayAction:
        return ACTIONS[self.action]

    @property
    def deposit_wei(self) -> int:
        return int(self.params["amount_wei"]) if self.action == Relay.Action.DEPOSIT else 0


def is_relay_offered() -> bool:
    """Whether the network fee can be paid in OPEN here at all."""
    return bool(settings.RELAY_ENABLED and settings.RELAY_OPEN_PER_ETH > 0 and relay_signer())


def how_of(action: str) -> RelayAction:
    if not is_relay_offered():
        raise RelayAway()
    if action not in ACTIONS:
        raise RelayRefused("This cannot be sent for you.", where="action")
    return ACTIONS[action]


def linked_address(user: User, account: str) -> str:
    """The wallet's address as it is stored. Raises `RelayRefused` for one that is not theirs."""
    wallet = linked_wallet(user, account)
    if wallet is None:
        raise RelayRefused("Link this wallet to your account first.", where="account")
    return wallet.address


def addresses_for(how: RelayAction) -> Addresses:
    addresses = contract_addresses()
    if not getattr(addresses, how.contract):
        raise RelayAway("That contract is not deployed on this chain yet.")
    return addresses


def in_words(refusal: CallReverted) -> RelayRefused:
    words = IN_WORDS.get(refusal.error_name, f"The contract would refuse it: {refusal.error_name}.")
    return RelayRefused(f"{words} Nothing was sent.")


def simulate(order: Order, call: ContractCall) -> None:
    """The very call goes through now, within what was quoted, and there is ETH for it."""
    client, relayer = chain_client(), relay_signer()
    if relayer is None:
        raise RelayAway()
    try:
        gas = client.estimate_gas(relayer.address, call)
        market = client.estimate_fees()
        balance = client.native_balance_of(relayer.address)
    except CallReverted as refusal:
        raise in_words(refusal) from refusal
    except ChainError as problem:
        raise RelayAway() from problem
    terms = order.terms
    if gas > terms.gas_limit or market.under(terms.max_fee_per_gas_wei) is None:
        raise QuoteOver("The network fee rose. Ask for it again, then sign.", where="quote")
    if balance < _reserved_eth() + terms.gas_limit * terms.max_fee_per_gas_wei:
        raise RelayAway()


def _reserved_eth() -> int:
    """What relays under way can still take of the relayer's ETH, in wei."""
    pending = Relay.objects.filter(chain_id=settings.CHAIN_ID, state=Relay.State.PENDING)
    terms = pending.values_list("gas_limit", "max_fee_per_gas_wei")
    return sum(int(gas) * int(price) for gas, price in terms)


def check_limits(user: User) -> None:
    day = Relay.objects.filter(created_at__gt=Now() - timedelta(days=1))
    for rows, most, whose in (
        (day.filter(user=user), settings.RELAY_PER_PERSON_A_DAY, "For you"),
        (day, settings.RELAY_PER_DAY, "For everybody together"),
    ):
        if rows.count() >= most:
            raise TooManyRelays(
                f"{whose}, {most} transactions were sent within a day; that is the limit."
                " Pay the network fee in ETH, or try again tomorrow.",
                limit=most,
            )


def is_from_deposit(order: Order) -> bool:
    """False when the balance covers the fee, True when it has to come out of the deposit.

    Raises `InsufficientFunds` when neither can, or when too much is at stake for others' deposits.
    """
    most = order.terms.most_wei
    if spendable_wei(order.user) >= most:
        return False
    if order.deposit_wei < most:
        raise InsufficientFunds(
            f"The network fee is at most {format_open(most)} OPEN, paid from your balance; you have"
            f" {format_open(spendable_wei(order.user))}. Deposit OPEN, then try again.",
            limit=spendable_wei(order.user),
        )
    if _has_debt(order) or relay_books().worst_wei + settings.RELAY_RESERVE_WEI < most:
        raise InsufficientFunds(
            "A deposit cannot pay for its own network fee at the moment. Pay it in ETH, or have"
            f" {format_open(most)} OPEN on your balance first.",
            limit=most,
        )
    return True


def _has_debt(order: Order) -> bool:
    """Whether the deposit would not be whole, or an earlier one did not pay what it cost: it
    failed, or its wallet was unlinked meanwhile and there was nobody to take the fee from."""
    debts = Deposit.objects.filter(address__iexact=order.account, debt_wei__gt=0)
    unpaid = Relay.objects.filter(user=order.user, fee_wei__lt=F("cost_wei"))
    return debts.exists() or unpaid.exists()
