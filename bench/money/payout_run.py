"""The process that `bench payout` measures: `python -m bench.money.payout_run CONTRIBUTORS`."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from rewards.chain.transactions import Signer
    from rewards.models import Epoch

WEI_EACH = 10**15
PEOPLE_AT_ONCE = 100_000
CLAIMANTS = 2


def main() -> None:
    contributors = int(sys.argv[1])
    django.setup()
    from django.conf import settings

    from rewards.chain.local import LocalChain, LocalChainSettings, free_port

    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        settings.CHAIN_RPC_URL = chain.url
        settings.CHAIN_ADDRESSES_FILE.parent.mkdir(parents=True, exist_ok=True)
        print(json.dumps(_measure(contributors, chain)), flush=True)


def _measure(contributors: int, chain: Any) -> dict[str, Any]:
    from rewards.services import close_epoch, reconcile
    from rewards.services.deployment import deploy_contracts

    deploy_contracts()
    signers = _prepare(contributors, chain)
    seconds: dict[str, float] = {}
    before, cpu_before, load_before = _peak_mb(), _cpu_seconds(), os.getloadavg()[0]
    with _statements_timed() as statements:
        epoch = _timed(seconds, "close_epoch", lambda: close_epoch(actor=None))
    _timed(seconds, "tree_and_all_proofs", lambda: _take_every_proof(epoch))
    peak, cpu, server_peak = _peak_mb(), _cpu_seconds(), _server_peak_mb()
    load_after = os.getloadavg()[0]
    _until_active(epoch)
    first = [_claim(signer, epoch) for signer in signers]
    chain.mine(3)
    peer = _peer_claims(signers, contributors)
    return {
        "contributors": contributors,
        "seconds": round(sum(seconds.values()), 1),
        "peak_mb": round(peak),
        "peak_mb_before": round(before),
        "server_peak_mb": round(server_peak),
        "cpu_seconds_of": {
            name: round(cpu[name] - cpu_before[name], 1) for name in ("site", "database")
        },
        "load_average_before_and_after": [round(load_before, 1), round(load_after, 1)],
        "claim_gas": first[0],
        "claim_gas_of_all": first,
        **peer,
        "leaves": epoch.leaves,
        "seconds_of": {name: round(took, 1) for name, took in seconds.items()},
        "seconds_of_statement": statements,
        "reconcile_ok": reconcile().ok,
    }


@contextmanager
def _statements_timed() -> Iterator[dict[str, float]]:
    """Seconds of the slowest statements by their first words; COMMIT is none of them."""
    from django.db import connection

    found: dict[str, float] = {}

    def wrapper(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            name = " ".join(str(sql).split()[:4])
            found[name] = round(found.get(name, 0.0) + time.perf_counter() - began, 2)

    with connection.execute_wrapper(wrapper):
        yield found
    for name in [name for name, took in found.items() if took < 0.05]:
        del found[name]


def _timed(seconds: dict[str, float], name: str, action: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    answer = action()
    seconds[name] = time.perf_counter() - began
    print(f"{name}: {seconds[name]:.1f} s, {_peak_mb():.0f} MB", file=sys.stderr, flush=True)
    return answer


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _backend() -> Path:
    """What the kernel says of the server's process that serves us."""
    from django.db import connection

    connection.ensure_connection()
    return Path(f"/proc/{connection.connection.info.backend_pid}")


def _cpu_seconds() -> dict[str, float]:
    """Of this process and of the server's: what the work takes on a machine with nothing else."""
    fields = (_backend() / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return {"site": time.process_time(), "database": ticks / os.sysconf("SC_CLK_TCK")}


def _server_peak_mb() -> float:
    """Its process at its largest, the shared buffers that it touched included."""
    lines = (_backend() / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _prepare(contributors: int, chain: Any) -> list[Signer]:
    """A real deposit, then a million people with wallets whom one paid for everything."""
    from django.db import connection
    from eth_account import Account as KeyAccount

    from openledger_site.accounts.models import User, Wallet
    from rewards.chain.calls import approve_call, deposit_call
    from rewards.chain.contracts import send_and_wait
    from rewards.chain.keys import DEVELOPMENT_CHAIN_ID
    from rewards.chain.transactions import Signer
    from rewards.models import Account
    from rewards.services import watch_chain
    from rewards.services.chain import chain_client, contract_addresses
    from rewards.services.dev_chain import give_test_open
    from rewards.services.ledger import user_account

    client, addresses = chain_client(), contract_addresses()
    total = contributors * WEI_EACH
    signers = [Signer(KeyAccount.create().key, DEVELOPMENT_CHAIN_ID) for _ in range(CLAIMANTS + 1)]
    payer_signer = signers.pop()
    give_test_open(payer_signer.address, total)
    for signer in signers:
        give_test_open(signer.address, 1)
    payer = User.objects.create(email="payer@example.org", display_name="Payer")
    Wallet.objects.create(user=payer, address=payer_signer.address, chain_id=DEVELOPMENT_CHAIN_ID)
    send_and_wait(client, payer_signer, approve_call(addresses.token, addresses.escrow, total))
    send_and_wait(client, payer_signer, deposit_call(addresses.escrow, total))
    chain.mine(3)
    watch_chain()
    spendable = user_account(payer, Account.Kind.SPENDABLE)
    for start in range(0, contributors, PEOPLE_AT_ONCE):
        _make_people(start, min(PEOPLE_AT_ONCE, contributors - start), signers, spendable.pk)
        print(f"prepared {start + PEOPLE_AT_ONCE}", file=sys.stderr, flush=True)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return signers


def _make_people(start: int, count: int, signers: list[Signer], spendable_id: int) -> None:
    from django.db import connection, transaction

    from rewards.merkle import checksummed, keccak256
    from rewards.models import Transaction

    addresses = [
        signers[number].address
        if number < len(signers)
        else checksummed("0x" + keccak256(number.to_bytes(8))[:20].hex())
        for number in range(start, start + count)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("DROP TABLE IF EXISTS pg_temp.people")
        cursor.execute(
            """
            CREATE TEMPORARY TABLE people ON COMMIT DROP AS
            WITH new AS (
                INSERT INTO accounts_user (public_id, email, display_name, password, is_staff,
                                           is_active, is_superuser)
                SELECT gen_random_uuid(), address || '@example.org', '', '', false, true, false
                  FROM unnest(%s::text[]) AS given (address)
                RETURNING id, public_id, email
            ) SELECT id, public_id, split_part(email, '@', 1) AS address FROM new
            """,
            [addresses],
        )
        cursor.execute(
            "INSERT INTO accounts_wallet (user_id, address, chain_id)"
            " SELECT id, address, 31337 FROM people"
        )
        cursor.execute(
            "INSERT INTO rewards_account (code, kind, owner_id, balance_wei, held_wei)"
            " SELECT 'user:' || public_id || ':payable', 'payable', id, 0, 0 FROM people"
        )
        row = Transaction(key=f"bench:{start}", kind="bench", reason="Benchmark")
        row.save(force_insert=True)
        cursor.execute(
            "INSERT INTO rewards_entry (transaction_id, account_id, amount_wei)"
            " SELECT %s, a.id, %s FROM people JOIN rewards_account a ON a.owner_id = people.id"
            " UNION ALL SELECT %s, %s, %s",
            [row.pk, WEI_EACH, row.pk, spendable_id, -WEI_EACH * count],
        )


def _take_every_proof(epoch: Epoch) -> None:
    """From the public file alone, as anybody can; each checked on the way, none kept."""
    from rewards.merkle import payout_leaf, verify
    from rewards.selectors import payout_tree

    tree = payout_tree(epoch.leaf_file)
    for number, (account, wei) in enumerate(tree.cumulative_wei.items()):
        proof = tree.proof(account)
        if number % 1_000 == 0:
            leaf = payout_leaf(epoch.chain_id, epoch.distributor, account, wei)
            assert verify(leaf, proof.siblings, tree.root)


def _until_active(epoch: Epoch) -> None:
    from rewards.services import advance_epochs, send_transactions

    deadline = time.monotonic() + 60
    while epoch.state != "active" and time.monotonic() < deadline:
        advance_epochs()
        send_transactions()
        time.sleep(0.2)
        epoch.refresh_from_db()
    if epoch.state != "active":
        raise RuntimeError(f"the epoch is {epoch.state}: {epoch.problem}")


def _claim(signer: Signer, epoch: Epoch) -> int:
    """Gas of a first claim by its owner."""
    from rewards.chain.calls import claim_call
    from rewards.chain.contracts import send_and_wait
    from rewards.selectors import payout_tree
    from rewards.services.chain import chain_client

    proof = payout_tree(epoch.leaf_file).proof(signer.address)
    call = claim_call(
        epoch.distributor, proof.account, proof.cumulative_wei, proof.root, proof.siblings
    )
    receipt = send_and_wait(chain_client(), signer, call)
    if not receipt.is_success:
        raise RuntimeError(f"the claim of {signer.address} was refused")
    return int(receipt.gas_used)


def _peer_claims(signers: list[Signer], leaves: int) -> dict[str, Any]:
    """The same two people, paid by another distributor with proofs of the same length."""
    from bench.money.peer_distributor import PACKAGE, peer_claim_gas

    try:
        gas = peer_claim_gas(signers, wei_each=WEI_EACH, proof_length=(leaves - 1).bit_length())
    except RuntimeError as problem:
        return {"peer": PACKAGE, "peer_failed": str(problem)[:200]}
    return {"peer": PACKAGE, "peer_claim_gas": gas[0], "peer_claim_gas_of_all": gas}


if __name__ == "__main__":
    main()
