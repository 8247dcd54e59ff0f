"""One market of `bench simulation`, and what its person of interest does there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from eth_account import Account as KeyAccount

from openledger_site.accounts.models import User, Wallet
from rewards.chain.calls import (
    ContractCall,
    approve_call,
    deposit_call,
    transfer_call,
)
from rewards.chain.contracts import send_and_wait
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.staking import (
    collect_income_call,
    read_position,
    stake_call,
    start_unbonding_call,
    take_out_call,
)
from rewards.chain.transactions import Signer
from rewards.models import Account, StakeUnbonding
from rewards.selectors import claims_open_for, spendable_wei
from rewards.services import InsufficientFunds, place_hold, settle_answer
from rewards.services.chain import chain_client, contract_addresses
from rewards.services.dev_chain import give_test_open
from rewards.services.sender import on_chain_id

OPEN = 10**18
START_WEI = 200 * OPEN
SPENT_ON_ATTACK_WEI = 100 * OPEN
STAKE_WEI = 10 * OPEN
OTHERS_STAKE_WEI = 30 * OPEN
OWN_WEIGHT, OTHERS_WEIGHT = 3_000, 7_000
SYBILS, WASHERS = 20, 3
OWN_ANSWER_WEI = 2 * OPEN
Shares = Sequence[tuple[int, int]]


@dataclass
class Somebody:
    """An account of the site with a wallet of its own."""

    user: User
    signer: Signer

    @classmethod
    def new(cls, name: str, amount_wei: int = 0) -> Somebody:
        signer = Signer(KeyAccount.create().key, DEVELOPMENT_CHAIN_ID)
        give_test_open(signer.address, amount_wei + 1)
        user = User.objects.create(email=f"{name}@example.org", display_name=name)
        Wallet.objects.create(user=user, address=signer.address, chain_id=DEVELOPMENT_CHAIN_ID)
        return cls(user, signer)

    def send(self, *calls: ContractCall) -> None:
        for call in calls:
            send_and_wait(chain_client(), self.signer, call)

    def in_wallet(self) -> int:
        return chain_client().balance_of(contract_addresses().token, self.signer.address) - 1

    def deposit(self, amount_wei: int) -> None:
        at = contract_addresses()
        if amount_wei > 0:
            self.send(
                approve_call(at.token, at.escrow, amount_wei), deposit_call(at.escrow, amount_wei)
            )

    def claim(self) -> None:
        for claim in claims_open_for(self.user):
            self.send(claim.call())

    def in_books(self) -> int:
        rows = Account.objects.filter(owner=self.user).values_list("balance_wei", flat=True)
        return sum(int(wei) for wei in rows)


@dataclass
class Market:
    """`people[0]` is the person of interest; the others of `people` are the same person's."""

    name: str
    people: list[Somebody]
    customer: Somebody
    staker: Somebody
    other: User
    subject: str = field(default_factory=lambda: f"datanet:{uuid4()}")
    count: int = 0
    bought_wei: int = 0
    rounds: int = 0

    @classmethod
    def open(cls, name: str, customers_wei: int) -> Market:
        people = [Somebody.new(f"{name}-0", START_WEI)]
        others = {"sybil_split": SYBILS, "wash_staking": WASHERS}.get(name, 1) - 1
        people += [Somebody.new(f"{name}-{number + 1}") for number in range(others)]
        market = cls(
            name,
            people,
            Somebody.new(f"{name}-customer", customers_wei),
            Somebody.new(f"{name}-staker", OTHERS_STAKE_WEI),
            User.objects.create(email=f"{name}-other@example.org", display_name="Other"),
        )
        market.customer.deposit(customers_wei)
        market.stake(market.staker, OTHERS_STAKE_WEI)
        if market.attacks_by_buying:
            people[0].deposit(SPENT_ON_ATTACK_WEI)
        if name != "wash_staking":
            market.stake(people[0], STAKE_WEI)
        return market

    @property
    def attacks_by_buying(self) -> bool:
        return self.name in ("self_dealing", "wash_staking")

    @property
    def target(self) -> bytes:
        return on_chain_id(self.subject)

    def own_shares(self, weight: int) -> list[tuple[int, int]]:
        """The same rows, in one account or split evenly over twenty."""
        holders = self.people if self.name == "sybil_split" else self.people[:1]
        return [(person.user.pk, weight // len(holders)) for person in holders]

    # A day

    def honest_answer(self, fee_wei: int) -> None:
        shares = [*self.own_shares(OWN_WEIGHT), (self.other.pk, OTHERS_WEIGHT)]
        self._answer(self.customer, fee_wei, shares)

    def attack(self) -> None:
        """Buy an answer about nothing but one's own rows, from one's own model."""
        if not self.attacks_by_buying or spendable_wei(self.people[0].user) < OWN_ANSWER_WEI:
            return
        with suppress(InsufficientFunds):
            self._answer(self.people[0], OWN_ANSWER_WEI, self.own_shares(OWN_WEIGHT))
            self.bought_wei += OWN_ANSWER_WEI

    def _answer(self, payer: Somebody, fee_wei: int, shares: Shares) -> None:
        self.count += 1
        key = f"{self.name}-{self.count}"
        settle_answer(
            hold=place_hold(payer.user, fee_wei, key=key, reason="Answer"),
            key=key,
            fee_wei=fee_wei,
            builder=self.people[0].user,
            contributor_shares=shares,
            reason="Answer",
            source_url="",
            stake_targets=[(self.subject, 1)],
        )

    # A round

    def stake(self, who: Somebody, amount_wei: int) -> None:
        at = contract_addresses()
        who.send(
            approve_call(at.token, at.staking, amount_wei),
            stake_call(at.staking, self.target, amount_wei),
        )

    def before_round(self) -> None:
        """Wash: the stake stands for the moment of the payment only, each time by another."""
        if self.name != "wash_staking":
            return
        last, now = (self.people[(self.rounds + shift) % WASHERS] for shift in (-1, 0))
        self._take_out(last)
        if last is not now and (moved := last.in_wallet()) > 0 and self.rounds:
            last.send(transfer_call(contract_addresses().token, now.signer.address, moved))
        self.stake(now, STAKE_WEI)

    def after_round(self) -> None:
        if self.name == "wash_staking":
            self._leave(self.people[self.rounds % WASHERS])
            self.rounds += 1
        if self.attacks_by_buying:
            first = self.people[0]
            first.claim()
            first.deposit(max(0, first.in_wallet() - STAKE_WEI))

    def _leave(self, who: Somebody) -> None:
        staking, client = contract_addresses().staking, chain_client()
        position = read_position(client, staking, self.target, who.signer.address, "latest")
        if position.shares:
            who.send(start_unbonding_call(staking, self.target, position.shares))
        with suppress(Exception):  # the contract refuses to pay out nothing
            who.send(collect_income_call(staking, self.target))

    def _take_out(self, who: Somebody) -> None:
        mine = StakeUnbonding.objects.filter(account=who.signer.address, shares__gt=0)
        for number in mine.values_list("number", flat=True):
            who.send(take_out_call(contract_addresses().staking, int(number)))

    # The end

    def leave(self) -> None:
        for person in self.people:
            person.claim()
            self._leave(person)

    def take_all_out(self) -> None:
        for person in self.people:
            self._take_out(person)

    def wealth_wei(self) -> int:
        """In the books and in the wallets, of all accounts of the person."""
        return sum(person.in_books() + person.in_wallet() for person in self.people)
