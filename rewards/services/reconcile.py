"""The books against themselves, the receipts and the chain: invariants I1 to I12, to the wei.

A difference freezes payouts. `unexplained_wei` is what no check could account for: balances that
are not their entries, and custody on chain that is not what its own events say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from openledger_site.core.money import WEI_MAX
from rewards.chain.errors import ChainError
from rewards.models import (
    Account,
    ChainCursor,
    Claim,
    Deposit,
    EscrowWithdrawal,
    PayoutFreeze,
    ReconcileRun,
)
from rewards.selectors.money import payout_freeze
from rewards.services.chain import (
    WATCHER_LOCK,
    ContractsMissing,
    chain_client,
    contract_addresses,
    only_runner,
)
from rewards.services.closings import differing_days
from rewards.services.deposits import catch_up, deposit_events
from rewards.services.ledger import system_account
from rewards.services.stake_checks import paid_in, stakers_part_is_somewhere
from rewards.services.vesting_checks import grants_that_differ
from rewards.services.withdrawal_books import withdrawals_are_somewhere

PROBLEMS_SHOWN = 20
Check = Callable[[], list[str]]
_more_checks: dict[str, Check] = {}


@dataclass
class Report:
    """`problems` by check; `figures` in wei. `reason` says why the chain could not be compared."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)
    unexplained_wei: int = 0
    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason and not self.unexplained_wei and not any(self.problems.values())

    def as_dict(self) -> dict[str, Any]:
        checks = {
            name: {"ok": not found, "problems": found[:PROBLEMS_SHOWN]}
            for name, found in self.problems.items()
        }
        answer: dict[str, Any] = {"ok": self.ok, "unexplained_wei": self.unexplained_wei}
        if self.reason:
            answer["reason"] = self.reason
        return answer | {"checks": checks, "figures": self.figures}


def register_reconcile_check(name: str, function: Check) -> None:
    """Let an app above add a check; it returns a list of problems, empty when all is well."""
    _more_checks[name] = function


def reconcile() -> Report:
    """Run every check, keep the report, and freeze payouts on a difference.

    Without the chain the report is not ok (`reason: chain_unavailable`), but nothing is frozen.
    """
    report = Report()
    for name, check in _BOOK_CHECKS.items():
        report.problems[name] = check()
    report.unexplained_wei += _drifted_wei()
    try:
        report.problems["I4"] = _custody(report)
    except (ChainError, ContractsMissing) as problem:
        report.reason = getattr(problem, "code", "chain_unavailable")
        report.problems["I4"] = [str(problem)]
    for name, check in _more_checks.items():
        report.problems[name] = check()
    report.problems = dict(sorted(report.problems.items()))
    _keep(report)
    return report


def _keep(report: Report) -> None:
    ReconcileRun.objects.create(
        ok=report.ok,
        unexplained_wei=min(report.unexplained_wei, WEI_MAX),
        report=report.as_dict(),
    )
    failed = [name for name, found in report.problems.items() if found]
    if report.reason or report.ok:
        return
    if not payout_freeze():
        PayoutFreeze.objects.create(
            reason=f"Reconcile: {', '.join(failed)}; {report.unexplained_wei} wei unexplained."[
                :300
            ]
        )


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _each_transaction_sums_to_zero() -> list[str]:
    rows = _rows("""
        SELECT t.key, coalesce(sum(e.amount_wei), 0), count(e.id)
          FROM rewards_transaction t LEFT JOIN rewards_entry e ON e.transaction_id = t.id
         GROUP BY t.id HAVING coalesce(sum(e.amount_wei), 0) <> 0 OR count(e.id) < 2
    """)
    return [f"{key}: {count} legs sum to {total} wei" for key, total, count in rows]


_DRIFT = """
    SELECT a.code, a.balance_wei, coalesce(sum(e.amount_wei), 0)
      FROM rewards_account a LEFT JOIN rewards_entry e ON e.account_id = a.id
     GROUP BY a.id HAVING a.balance_wei <> coalesce(sum(e.amount_wei), 0)
"""


def _each_balance_is_its_entries() -> list[str]:
    return [
        f"{code}: balance {balance}, entries {legs} wei" for code, balance, legs in _rows(_DRIFT)
    ]


def _drifted_wei() -> int:
    return sum(abs(int(balance - legs)) for _, balance, legs in _rows(_DRIFT))


def _nobody_is_below_zero() -> list[str]:
    below = Account.objects.filter(kind__in=Account.PERSONAL, balance_wei__lt=0)
    problems = [f"{account.code}: {account.balance_wei} wei" for account in below]
    return problems + _debts_that_differ()


def _debts_that_differ() -> list[str]:
    """What was spent before its deposit vanished is owed by somebody, to the wei."""
    rows = _rows("""
        SELECT account.wei, owed.wei FROM
          (SELECT coalesce(sum(-balance_wei), 0) AS wei FROM rewards_account
            WHERE kind = 'reorg_debt') account,
          (SELECT coalesce(sum(debt_wei), 0) AS wei FROM (
             SELECT debt_wei FROM rewards_deposit UNION ALL
             SELECT debt_wei FROM rewards_withdrawal) debts) owed
         WHERE account.wei <> owed.wei
    """)
    return [f"{wei} wei vanished with their blocks, {owed} wei are owed" for wei, owed in rows]


def _claimed_is_at_most_earned() -> list[str]:
    rows = _rows("""
        SELECT c.address, c.claimed, coalesce(p.earned, 0) FROM
          (SELECT lower(address) AS address, sum(amount_wei) AS claimed FROM rewards_claim
            WHERE state <> 'voided' GROUP BY 1) c
          LEFT JOIN (SELECT lower(address) AS address, sum(amount_wei) AS earned
            FROM rewards_epochpayout GROUP BY 1) p USING (address)
         WHERE c.claimed > coalesce(p.earned, 0)
    """)
    problems = [
        f"{address}: claimed {claimed} of {earned} wei" for address, claimed, earned in rows
    ]
    unknown = Claim.objects.filter(state=Claim.State.UNKNOWN)
    problems += [f"{claim.transaction_hash}: claim of no known payout" for claim in unknown]
    return [*problems, *_earnings_that_differ(), *_leaves_that_differ()]


def _earnings_that_differ() -> list[str]:
    """What is held back for a person is the sum of their lines, what is claimable of their payouts:
    so nobody's earnings stand under another name."""
    rows = _rows("""
        SELECT coalesce(account.code, person.public_id || ':' || owed.kind),
               coalesce(account.balance_wei, 0), coalesce(owed.wei, 0)
          FROM (SELECT * FROM rewards_account WHERE kind IN ('holding', 'claimable')) account
          FULL JOIN (
            SELECT user_id, 'holding' AS kind, sum(amount_wei) AS wei FROM rewards_earningline
             WHERE state = 'holding' GROUP BY 1
             UNION ALL
            SELECT user_id, 'claimable', sum(amount_wei) FROM rewards_epochpayout
             WHERE claim_id IS NULL GROUP BY 1
          ) owed ON owed.user_id = account.owner_id AND owed.kind = account.kind
          LEFT JOIN accounts_user person ON person.id = owed.user_id
         WHERE coalesce(account.balance_wei, 0) <> coalesce(owed.wei, 0)
    """)
    return [f"{code}: {held} wei, its rows say {owed}" for code, held, owed in rows]


def _leaves_that_differ() -> list[str]:
    """The newest leaf of an address is all that it was ever paid, and no more."""
    rows = _rows("""
        SELECT payout.address, max(payout.cumulative_wei), sum(payout.amount_wei)
          FROM rewards_epochpayout payout JOIN rewards_epoch epoch ON epoch.number = payout.epoch_id
         GROUP BY payout.address, epoch.chain_id, epoch.distributor
        HAVING max(payout.cumulative_wei) <> sum(payout.amount_wei)
    """)
    return [f"{address}: a leaf of {leaf} wei, payouts of {sums}" for address, leaf, sums in rows]


def _each_hold_is_resolved_once() -> list[str]:
    held = _rows("""
        SELECT a.code, a.held_wei, coalesce(sum(h.amount_wei), 0) FROM rewards_account a
          LEFT JOIN rewards_hold h ON h.account_id = a.id AND h.state = 'pending'
         GROUP BY a.id HAVING a.held_wei <> coalesce(sum(h.amount_wei), 0)
    """)
    resolved = _rows("""
        SELECT h.key, h.state FROM rewards_hold h
         WHERE (h.state = 'posted') <> EXISTS (
            SELECT 1 FROM rewards_settlement s
             WHERE s.hold_id = h.id AND s.transaction_id = h.transaction_id
             UNION ALL SELECT 1 FROM rewards_relay r
             WHERE r.hold_id = h.id AND r.transaction_id = h.transaction_id)
    """)
    problems = [f"{code}: {held_wei} wei held, holds {total}" for code, held_wei, total in held]
    return problems + [
        f"hold {key} is {state} but its settlement differs" for key, state in resolved
    ]


def _each_answer_is_shared_out() -> list[str]:
    rows = _rows("""
        SELECT s.key FROM rewards_settlement s
          LEFT JOIN (SELECT settlement_id, sum(amount_wei) AS earned FROM rewards_earningline
                      GROUP BY 1) l ON l.settlement_id = s.id
          LEFT JOIN (SELECT transaction_id, sum(amount_wei) AS moved FROM rewards_entry
                      WHERE amount_wei > 0 GROUP BY 1) e ON e.transaction_id = s.transaction_id
         WHERE s.fee_wei <> s.contributors_wei + s.reserve_wei + s.builder_wei + s.stakers_wei
                            + s.platform_wei + s.dust_wei + s.maker_wei
            OR coalesce(l.earned, 0) <> s.contributors_wei + s.builder_wei + s.maker_wei
            OR coalesce(e.moved, 0) <> s.fee_wei
    """)
    problems = [f"settlement {key}: its parts are not its fee" for (key,) in rows]
    return problems + _each_refund_is_the_settlement_reversed()


def _each_refund_is_the_settlement_reversed() -> list[str]:
    """To the wei and account by account; its earnings are refunded by that posting and no other."""
    rows = _rows("""
        SELECT s.key FROM rewards_settlement s
         WHERE s.refund_id IS NOT NULL AND (
            EXISTS (SELECT 1 FROM rewards_entry e
                     WHERE e.transaction_id IN (s.transaction_id, s.refund_id)
                     GROUP BY e.account_id HAVING sum(e.amount_wei) <> 0)
            OR EXISTS (SELECT 1 FROM rewards_earningline l
                        WHERE l.settlement_id = s.id AND (l.state, l.moved_by_id)
                              IS DISTINCT FROM ('refunded', s.refund_id)))
         UNION
        SELECT s.key FROM rewards_settlement s JOIN rewards_earningline l ON l.settlement_id = s.id
         WHERE s.refund_id IS NULL AND l.state = 'refunded'
    """)
    return [f"settlement {key}: its refund is not its reversal" for (key,) in rows]


def _network_fees_are_paid() -> list[str]:
    """Each fee is its posting, and only a deposit that failed cost more than it brought."""
    rows = _rows("""
        SELECT r.public_id FROM rewards_relay r
          LEFT JOIN rewards_entry e ON e.transaction_id = r.transaction_id AND e.amount_wei > 0
         WHERE r.state <> 'pending' AND (coalesce(e.amount_wei, 0) <> r.fee_wei
            OR (r.fee_wei < r.cost_wei AND r.action <> 'deposit'))
    """)
    problems = [f"relay {public_id}: its fee differs" for (public_id,) in rows]
    # Both in one statement, which sees one moment: a fee may be taken meanwhile.
    ((income, earned),) = _rows("""
        SELECT (SELECT coalesce(sum(balance_wei), 0) FROM rewards_account WHERE kind = 'relay'),
               (SELECT coalesce(sum(fee_wei), 0) FROM rewards_relay)
    """)
    if income != earned:
        problems.append(f"Network fees are {earned} wei, their account has {income} wei.")
    return problems


def _closed_days_stand() -> list[str]:
    """The newest, posting by posting; `manage.py verify_closings` reads all of them."""
    return differing_days(newest=1)


_BOOK_CHECKS: dict[str, Check] = {
    "I1": _each_transaction_sums_to_zero,
    "I2": _each_balance_is_its_entries,
    "I3": _nobody_is_below_zero,
    "I5": _claimed_is_at_most_earned,
    "I6": _each_hold_is_resolved_once,
    "I7": _each_answer_is_shared_out,
    "I8": stakers_part_is_somewhere,
    "I9": _closed_days_stand,
    "I10": withdrawals_are_somewhere,
    "I12": _network_fees_are_paid,
}


def _custody(report: Report) -> list[str]:
    """Liabilities against escrow and distributor at one final block.

    The watcher is kept out meanwhile, so the books stand at exactly that block.
    """
    client, addresses = chain_client(), contract_addresses()
    with only_runner(WATCHER_LOCK, wait=True):
        catch_up(client, addresses)
        cursor = ChainCursor.objects.get(chain_id=addresses.chain_id)
        block = max(cursor.block_number, addresses.deployed_block)
        deposits = deposit_events(client, addresses, addresses.deployed_block, block)
        claims = client.claim_events(addresses.distributor, addresses.deployed_block, block)
        withdrawals = client.withdrawal_events(addresses.escrow, addresses.deployed_block, block)
        in_escrow = client.balance_of(addresses.token, addresses.escrow, block)
        in_distributor = client.balance_of(addresses.token, addresses.distributor, block)
        taken, takers = _taken_for_stakers(addresses.chain_id)
        in_wallets = sum(client.balance_of(addresses.token, taker, block) for taker in takers)
        income, income_problems = paid_in(client, addresses, block)
        mirror = -system_account(Account.Kind.CUSTODY).balance_wei
        owed = _owed_wei()
        problems = _unmatched("deposit", deposits, Deposit) + _unmatched("claim", claims, Claim)
        problems += _unmatched("withdrawal", withdrawals, EscrowWithdrawal) + income_problems
        report.problems["I11"] = grants_that_differ(client, addresses, block)
    by_events = sum(event.amount_wei for event in deposits) + taken - income
    by_events -= sum(event.amount_wei for event in claims)
    by_events -= sum(event.amount_wei for event in withdrawals)
    # What was taken for stakers and is not paid in yet is still in custody: in our own wallets.
    in_transit = min(max(0, taken - income), in_wallets)
    custody = in_escrow + in_distributor + in_transit
    report.figures = {
        "block": block,
        "liabilities_wei": owed,
        "custody_wei": custody,
        "escrow_wei": in_escrow,
        "distributor_wei": in_distributor,
        "in_transit_wei": in_transit,
        "paid_to_stakers_wei": income,
        # Somebody sent OPEN to a contract of ours without a deposit: theirs to explain, no debt.
        "unsolicited_wei": max(0, custody - by_events),
    }
    report.unexplained_wei += abs(mirror - by_events) + max(0, by_events - custody)
    if mirror != by_events:
        problems.append(f"The books say {mirror} wei in custody, the chain's events {by_events}.")
    if owed > custody:
        problems.append(f"{owed} wei owed, {custody} wei in custody.")
    return problems


def _taken_for_stakers(chain_id: int) -> tuple[int, set[str]]:
    """Wei that left the escrow on their way to the stakers, and the wallets that took them."""
    taken = EscrowWithdrawal.objects.filter(chain_id=chain_id, state=EscrowWithdrawal.State.FLOAT)
    rows = list(taken.values_list("amount_wei", "address"))
    return sum(int(amount) for amount, _ in rows), {address for _, address in rows}


def _owed_wei() -> int:
    accounts = Account.objects.exclude(kind__in=Account.BELOW_ZERO)
    return sum(int(balance) for balance in accounts.values_list("balance_wei", flat=True))


def _unmatched(
    name: str,
    events: Iterable[Any],
    model: type[Deposit] | type[Claim] | type[EscrowWithdrawal],
) -> list[str]:
    """Each event has one standing row with its amount, and each standing row its event."""
    on_chain = {
        (event.place.transaction_hash, event.place.log_index): event.amount_wei for event in events
    }
    standing = model.objects.filter(chain_id=contract_addresses().chain_id).exclude(state="voided")
    booked = {
        (digest, index): amount
        for digest, index, amount in standing.values_list(
            "transaction_hash", "log_index", "amount_wei"
        )
    }
    differing = {place for place in on_chain | booked if on_chain.get(place) != booked.get(place)}
    return [f"{name} {digest} log {index} differs" for digest, index in sorted(differing)]
