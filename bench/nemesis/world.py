"""The people, the processes and the flows of money that faults are injected into.

The world remembers what it was told: an answer of a process counts only when it arrived, and what
is not known is asked again under the same key, as a client does. From that and from the chain's
own deposits follows what everybody must have in the end; the books are compared with it.
"""

from __future__ import annotations

import json
import os
import queue
import random
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bench.money.cluster import REPOSITORY, Cluster
from bench.nemesis.proxy import LyingNode
from openledger_site.accounts.models import User, Wallet
from rewards.chain.calls import approve_call, deposit_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, send_and_wait
from rewards.chain.errors import ChainError
from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
from rewards.chain.local import LocalChain
from rewards.chain.transactions import Signer

OPEN = 10**18
PAYER, BUILDER, CONTRIBUTOR = "payer@example.org", "builder@example.org", "contributor@example.org"
BATCH = 3
PARTS_PER_MILLION = 1_000_000
CONTRIBUTORS_PPM, BUILDER_PPM = 700_000, 200_000  # written down again, not read from the code


class Process:
    """One payer or clock, restarted by whoever kills it; a spare stands ready to save the wait."""

    def __init__(self, role: str, environment: dict[str, str]) -> None:
        self.role, self.environment = role, {**environment, "PGAPPNAME": f"bench-{role}"}
        self.running = self._ready(self._begin())
        self.spare = self._begin()

    def _begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "bench.nemesis.process", self.role],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _ready(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        assert process.stdout is not None
        process.stdout.readline()
        return process

    @property
    def pid(self) -> int:
        return self.running.pid

    def revive(self) -> None:
        """Put the spare in the place of a process that ended."""
        if self.running.poll() is None:
            return
        self.running, self.spare = self._ready(self.spare), self._begin()

    def end(self) -> None:
        for process in (self.running, self.spare):
            process.kill()
            process.wait()

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Its answer, or `unknown` when it died before it could say it."""
        self.revive()
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        with suppress(OSError, ValueError):
            self.running.stdin.write(json.dumps(command) + "\n")
            self.running.stdin.flush()
            line = self.running.stdout.readline()
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
        self.running.wait(30)
        return {"state": "unknown", "error": "the process died"}


class Clock(Process):
    """A clock is told to go and then asked nothing."""

    def _ready(self, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
        found = super()._ready(process)
        assert found.stdin is not None
        with suppress(OSError):
            found.stdin.write("go\n")
            found.stdin.flush()
        return found

    def second(self) -> subprocess.Popen[str]:
        return self._ready(self._begin())


@dataclass
class Told:
    """What the processes said to have done."""

    fees_wei: int = 0
    refunded_wei: int = 0
    gifts_wei: int = 0
    contributor_wei: int = 0
    builder_wei: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    refunds: set[str] = field(default_factory=set)
    batch_keys: list[str] = field(default_factory=list)

    def answered(self, key: str, fee_wei: int) -> None:
        self.answers[key] = fee_wei
        self.fees_wei += fee_wei
        self._earned(fee_wei, 1)

    def refunded(self, key: str) -> None:
        self.refunds.add(key)
        self.refunded_wei += self.answers[key]
        self._earned(self.answers[key], -1)

    def _earned(self, fee_wei: int, sign: int) -> None:
        self.contributor_wei += sign * (fee_wei * CONTRIBUTORS_PPM // PARTS_PER_MILLION)
        self.builder_wei += sign * (fee_wei * BUILDER_PPM // PARTS_PER_MILLION)


@dataclass
class World:
    cluster: Cluster
    chain: LocalChain
    node: LyingNode
    client: ChainClient  # straight to the chain, past the lies
    addresses: Addresses
    wallet: Signer  # of the payer
    contributor_wallet: Signer
    draw: random.Random
    payers: list[Process] = field(default_factory=list)
    clock: Clock = field(init=False)
    told: Told = field(default_factory=Told)
    unknown: int = 0
    count: int = 0
    noting: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def make(cls, cluster: Cluster, chain: LocalChain, seed: int) -> World:
        from django.conf import settings

        from rewards.services.deployment import deploy_contracts
        from rewards.services.dev_chain import give_test_open

        settings.CHAIN_RPC_URL = chain.url
        settings.CHAIN_ADDRESSES_FILE.parent.mkdir(parents=True, exist_ok=True)
        addresses, _ = deploy_contracts()
        from eth_account import Account as KeyAccount

        signers = [Signer(KeyAccount.create().key, DEVELOPMENT_CHAIN_ID) for _ in range(2)]
        give_test_open(signers[0].address, 100_000 * OPEN)
        give_test_open(signers[1].address, 1)
        for email, signer in ((PAYER, signers[0]), (BUILDER, None), (CONTRIBUTOR, signers[1])):
            person = User.objects.create(email=email, display_name=email)
            if signer is not None:
                Wallet.objects.create(
                    user=person, address=signer.address, chain_id=DEVELOPMENT_CHAIN_ID
                )
        node = LyingNode(chain.url)
        client = ChainClient(chain.url, DEVELOPMENT_CHAIN_ID)
        world = cls(
            cluster, chain, node, client, addresses, signers[0], signers[1], random.Random(seed)
        )
        environment = {
            **os.environ,
            "CHAIN_RPC_URL": node.url,
            "CHAIN_TIMEOUT_SECONDS": "1",
        }
        send_and_wait(
            client, signers[0], approve_call(addresses.token, addresses.escrow, 100_000 * OPEN)
        )
        world.deposit(1_000 * OPEN)
        chain.mine(3)
        world.payers = [Process("payer", environment) for _ in range(2)]
        world.clock = Clock("clock", environment)
        return world

    def end(self) -> None:
        for process in (*self.payers, self.clock):
            process.end()
        self.node.stop()

    # What people do

    def deposit(self, amount_wei: int) -> None:
        """By the payer's own wallet; a chain that is away gets no deposit, which is no loss."""
        with suppress(ChainError):
            send_and_wait(self.client, self.wallet, deposit_call(self.addresses.escrow, amount_wei))

    def claim(self) -> None:
        """The contributor takes out what the newest active root promises."""
        from rewards.selectors import claims_open_for

        for claim in claims_open_for(User.objects.get(email=CONTRIBUTOR)):
            with suppress(ChainError):
                send_and_wait(self.client, self.contributor_wallet, claim.call())

    def commands(self) -> list[dict[str, Any]]:
        """A handful of flows, new keys each time."""
        people = {"payer": PAYER, "builder": BUILDER, "contributor": CONTRIBUTOR}
        self.count += 1
        answers: list[dict[str, Any]] = [
            {
                "do": "answer",
                "key": f"answer-{self.count}-{number}",
                "fee_wei": self.draw.randint(10**15, 10**16),
                **people,
            }
            for number in range(3)
        ]
        keys = [f"gift-{self.count}-{number}" for number in range(BATCH)]
        more: list[dict[str, Any]] = [
            {"do": "refund", "key": answers[0]["key"]},
            {"do": "batch", "keys": keys, "payer": PAYER, "amount_wei": 10**13},
            {"do": "close"},
            {"do": "reconcile"},
        ]
        return [*answers, *more]

    def do(self, command: dict[str, Any], process: Process) -> bool:
        """Ask once; whether the outcome is known now."""
        answer = process.ask(command)
        if answer["state"] == "unknown":
            self.unknown += 1
            return command["do"] in ("close", "reconcile")  # the next round asks again anyway
        if answer["state"] == "ok":
            with self.noting:
                self._note(command)
        return True

    def _note(self, command: dict[str, Any]) -> None:
        if command["do"] == "answer" and command["key"] not in self.told.answers:
            self.told.answered(command["key"], command["fee_wei"])
        elif command["do"] == "refund" and command["key"] not in self.told.refunds:
            self.told.refunded(command["key"])
        elif command["do"] == "batch" and command["keys"][0] not in self.told.batch_keys:
            self.told.batch_keys += command["keys"]
            self.told.gifts_wei += command["amount_wei"] * len(command["keys"])

    # What must be true

    def differences(self) -> dict[str, int]:
        """Wei by what they are of: below zero is lost, above it doubled."""
        from rewards.models import Account, Settlement, Transaction

        block = self.client.finalized_block().number
        events = self.client.deposit_events(
            self.addresses.escrow, self.addresses.deployed_block, block
        )
        deposited = sum(event.amount_wei for event in events)
        told = self.told
        spent = told.fees_wei - told.refunded_wei + told.gifts_wei
        claimed = self.client.claimed(
            self.addresses.distributor, self.contributor_wallet.address, block
        )

        def of(email: str, *kinds: str) -> int:
            accounts = Account.objects.filter(owner__email=email, kind__in=kinds)
            return sum(int(wei) for wei in accounts.values_list("balance_wei", flat=True))

        earned = ("holding", "payable", "claimable")
        debt = Account.objects.filter(kind=Account.Kind.REORG_DEBT).first()
        owed = int(debt.balance_wei) if debt else 0
        answers = set(Settlement.objects.values_list("key", flat=True))
        gifts = Transaction.objects.filter(key__in=told.batch_keys).count()
        return {
            "payer": of(PAYER, "spendable") + owed - (deposited - spent),
            "contributor": of(CONTRIBUTOR, *earned) + claimed - told.contributor_wei,
            "builder": of(BUILDER, *earned) - told.builder_wei,
            "answers": len(answers) - len(told.answers) if answers ^ set(told.answers) else 0,
            "gifts": gifts - len(told.batch_keys),
        }


class Flow(threading.Thread):
    """Asks the commands of one round, in order, each until its outcome is known."""

    def __init__(self, world: World, process: Process, commands: list[dict[str, Any]]) -> None:
        super().__init__(daemon=True)
        self.world, self.process = world, process
        self.commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for command in commands:
            self.commands.put(command)

    def run(self) -> None:
        while not self.commands.empty():
            command = self.commands.get()
            while not self.world.do(dict(command), self.process):
                threading.Event().wait(0.1)
