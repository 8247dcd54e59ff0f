"""The process that `bench simulation` measures: `... -m bench.money.simulation_run DAYS SEED`."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from bench.money.simulation_market import Market
    from rewards.chain.local import LocalChain

DAYS_A_ROUND = 50
STRATEGIES = ("honest", "self_dealing", "sybil_split", "wash_staking")
FEE_MIN_WEI, FEE_MAX_WEI = 10**17, 10**18
ROUND_SECONDS_MAX = 180


def main() -> None:
    days, seed = int(sys.argv[1]), int(sys.argv[2])
    django.setup()
    from django.conf import settings

    from rewards.chain.local import LocalChain, LocalChainSettings, free_port

    with LocalChain(LocalChainSettings(port=free_port())) as chain:
        settings.CHAIN_RPC_URL = chain.url
        settings.CHAIN_ADDRESSES_FILE.parent.mkdir(parents=True, exist_ok=True)
        print(json.dumps(_simulate(chain, days, random.Random(seed))), flush=True)


def _simulate(chain: LocalChain, days: int, draw: random.Random) -> dict[str, Any]:
    from bench.money.simulation_market import Market
    from rewards.services import reconcile, release_earnings, watch_chain
    from rewards.services.deployment import deploy_contracts

    began = time.monotonic()
    deploy_contracts()
    markets = [Market.open(name, (days + 1) * FEE_MAX_WEI) for name in STRATEGIES]
    chain.mine(3)
    watch_chain()
    for day in range(1, days + 1):
        fee_wei = draw.randint(FEE_MIN_WEI, FEE_MAX_WEI)
        for market in markets:
            market.honest_answer(fee_wei)
            market.attack()
        release_earnings()
        if day % DAYS_A_ROUND == 0 or day == days:
            _pay_out(chain, markets)
            print(f"day {day}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for market in markets:
        market.leave()
    chain.mine(3)
    watch_chain()
    time.sleep(2)  # the unbonding delay, on the chain's own clock
    for market in markets:
        market.take_all_out()
    chain.mine(3)
    watch_chain()
    return _figures(markets, days) | {
        "reconcile_ok": reconcile().ok,
        "seconds": round(time.monotonic() - began),
    }


def _pay_out(chain: LocalChain, markets: list[Market]) -> None:
    """Stakers and an epoch, by the steps that the clock takes, until both are on chain."""
    from rewards.models import IncomeRound
    from rewards.services import (
        advance_epochs,
        advance_income,
        close_epoch,
        plan_income_round,
        send_transactions,
        watch_chain,
    )

    for market in markets:
        market.before_round()
    chain.mine(3)
    watch_chain()
    plan_income_round()
    epoch = close_epoch(actor=None)
    deadline = time.monotonic() + ROUND_SECONDS_MAX
    while True:
        advance_epochs()
        advance_income()
        send_transactions()
        chain.mine(3)
        watch_chain()
        epoch.refresh_from_db()
        if epoch.state == "active" and not IncomeRound.objects.exclude(state="done").exists():
            break
        if epoch.state == "failed" or time.monotonic() > deadline:
            raise RuntimeError(f"epoch {epoch.number} is {epoch.state}: {epoch.problem}")
    for market in markets:
        market.after_round()
    chain.mine(3)
    watch_chain()


def _figures(markets: list[Market], days: int) -> dict[str, Any]:
    """The honest twin's income is the honest share: the same rows, model, stake and customers."""
    from bench.money.simulation_market import START_WEI

    ends = {market.name: market.wealth_wei() for market in markets}
    honest_share = ends["honest"] - START_WEI
    strategies = {}
    for market in markets[1:]:
        over = ends[market.name] - START_WEI - honest_share
        # Largest remainder may round in favour of each account, by less than a wei an answer.
        rounding = (len(market.people) - 1) * market.count
        strategies[market.name] = {
            "accounts": len(market.people),
            "answers": market.count,
            "bought_from_oneself_wei": str(market.bought_wei),
            "start_wei": str(START_WEI),
            "honest_share_wei": str(honest_share),
            "end_wei": str(ends[market.name]),
            "end_less_start_and_honest_share_wei": str(over),
            "rounding_at_most_wei": str(rounding),
            "holds": over <= rounding,
            "holds_to_the_wei": over <= 0,
        }
    return {
        "days": days,
        "days_a_round": DAYS_A_ROUND,
        "holds": all(found["holds"] for found in strategies.values()),
        "strategies": strategies,
    }


if __name__ == "__main__":
    main()
