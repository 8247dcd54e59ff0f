"""The two processes that are killed: `python -m bench.nemesis.process payer|clock`.

A payer does, in one process with the site's settings, what a web worker does for a paid answer: it
reserves, settles, refunds, posts a batch or closes an epoch by the services, one command a line.
The clock calls the very tasks that Celery's clock calls, in turn and for ever, without a broker.
Both treat a broken database connection as Django does between two requests.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import django

PAUSE_SECONDS = 0.05


def main() -> None:
    role = sys.argv[1]
    django.setup()
    print("ready", flush=True)
    if role == "clock":
        sys.stdin.readline()  # a spare waits here until it is needed
        run_clock()
    for line in sys.stdin:
        print(json.dumps(answer_to(json.loads(line))), flush=True)


def run_clock() -> None:
    from rewards import tasks

    steps = (
        tasks.watch_chain,
        tasks.send_transactions,
        tasks.release_earnings,
        tasks.expire_holds,
        tasks.pay_stakers,
    )
    while True:
        for step in steps:
            _tried(step)
        time.sleep(PAUSE_SECONDS)


def answer_to(command: dict[str, Any]) -> dict[str, Any]:
    """`ok`, `refused` with a domain error's code, or `unknown`: it may have happened or not."""
    from openledger_site.core.errors import DomainError

    commands: dict[str, Callable[..., dict[str, Any]]] = {
        "answer": _answer,
        "refund": _refund,
        "batch": _batch,
        "close": _close,
        "reconcile": _reconcile,
    }
    what = commands[command.pop("do")]
    found = _tried(lambda: what(**command))
    if isinstance(found, DomainError):
        return {"state": "refused", "code": found.code}
    if isinstance(found, Exception):
        return {"state": "unknown", "error": f"{type(found).__name__}: {found}"[:200]}
    return {"state": "ok", **found}


def _tried(step: Callable[[], Any]) -> Any:
    """What it returns, or the exception; a connection that is of no use is dropped, as Django does.

    Any exception: whatever a fault makes of it, the process goes on with the next request.
    """
    from django.db import close_old_connections

    close_old_connections()
    try:
        return step()
    except Exception as problem:
        return problem
    finally:
        close_old_connections()


def _answer(key: str, payer: str, builder: str, contributor: str, fee_wei: int) -> dict[str, Any]:
    from openledger_site.accounts.models import User
    from rewards.services import place_hold, settle_answer

    people = {
        user.email: user for user in User.objects.filter(email__in=[payer, builder, contributor])
    }
    settle_answer(
        hold=place_hold(people[payer], 2 * fee_wei, key=key, reason="Answer"),
        key=key,
        fee_wei=fee_wei,
        builder=people[builder],
        contributor_shares=[(people[contributor].pk, 1)],
        reason="Answer",
        source_url="",
    )
    return {}


def _refund(key: str) -> dict[str, Any]:
    from rewards.services import refund_answer

    return {"refunded": refund_answer(key).refund_id is not None}


def _batch(keys: list[str], payer: str, amount_wei: int) -> dict[str, Any]:
    from openledger_site.accounts.models import User
    from rewards.models import Account
    from rewards.services import Posting, post_many, raise_refusals
    from rewards.services.ledger import system_account, user_account

    account = user_account(User.objects.get(email=payer), Account.Kind.SPENDABLE)
    legs = [(account, -amount_wei), (system_account(Account.Kind.FEES), amount_wei)]
    postings = [Posting(key=key, kind="bench", legs=legs, reason="Benchmark") for key in keys]
    return {"posted": len(raise_refusals(post_many(postings)))}


def _close() -> dict[str, Any]:
    from rewards.services import close_epoch

    return {"number": close_epoch(actor=None).number}


def _reconcile() -> dict[str, Any]:
    from rewards.services import reconcile

    return {"clean": reconcile().ok}


if __name__ == "__main__":
    main()
