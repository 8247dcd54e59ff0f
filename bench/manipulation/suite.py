"""Every attack on the payout rule, against the honest world, undefended and defended.

A *gain* is what the attacker earns over what the same attacker earns honestly, under the same rule.
Some attackers have no honest income to compare with; then a figure is a share of all fees.
`ATTACKS` says which, and what is aimed at.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bench.influence.world import Question, Row, WorldSize, make_world
from bench.manipulation import attacks
from bench.manipulation.attacks import ATTACKER
from bench.manipulation.market import RULES, Market, Outcome, Pay, Rule, Sale, paid, split
from bench.manipulation.shadow import Search, optimised
from datanets.wordings import held_out_wordings

ATTACKERS_ROWS = 4
NEW_ROWS = 4
COPIED = 3
FEE_WEI = 10**18

WORLD = WorldSize(
    places=3, health=5, noise=0, contributors=6, fitting_questions=0, reported_questions=4
)
SEARCH = Search()

Figures = dict[Rule, float]


@dataclass(frozen=True)
class Size:
    """How much of everything; the small size is the test's."""

    world: WorldSize = WORLD
    honest_seeds: int = 3
    trained_wordings: int = 2
    rewordings: int = 1
    epochs: int = 6
    search: Search = SEARCH


@dataclass(frozen=True)
class Attack:
    """One attack: what its figure is, and what it should be at most (or at least)."""

    name: str
    figure: str
    target: str
    holds: Callable[[float], bool] | None
    said: str

    def verdict(self, figure: float) -> str:
        if self.holds is None:
            return ""
        return "yes" if self.holds(figure) else "no"


def at_most(limit: float) -> Callable[[float], bool]:
    return lambda figure: figure <= limit


def at_least(limit: float) -> Callable[[float], bool]:
    return lambda figure: figure >= limit


def below(limit: float) -> Callable[[float], bool]:
    return lambda figure: figure < limit


GAIN, KEPT, SHARE = "gain", "part that the original keeps", "share of all fees"

ATTACKS = (
    Attack("duplicates_2", GAIN, "≤ 1.02", at_most(1.02), "each row of the attacker twice"),
    Attack("duplicates_10", GAIN, "≤ 1.02", at_most(1.02), "each row ten times"),
    Attack("duplicates_100", GAIN, "≤ 1.02", at_most(1.02), "one row a hundred times"),
    Attack("sybil_split", GAIN, "≤ 1.05", at_most(1.05), "each row in an account of its own"),
    Attack("sybil_2", GAIN, "≤ 1.05", at_most(1.05), "each row in each of two accounts"),
    Attack("sybil_10", GAIN, "≤ 1.05", at_most(1.05), "each row in each of ten accounts"),
    Attack("near_duplicate_case", GAIN, "≤ 1.25", at_most(1.25), "a copy in capitals"),
    Attack("near_duplicate_synonym", GAIN, "≤ 1.25", at_most(1.25), "a copy in synonyms"),
    Attack(
        "near_duplicate_paraphrase", GAIN, "≤ 1.25", at_most(1.25), "question and answer reworded"
    ),
    Attack("copy_of_top_earner", KEPT, "≥ 0.95", at_least(0.95), "verbatim, by another account"),
    Attack("reworded_copy_of_top_earner", KEPT, "no target", None, "question reworded"),
    Attack("outlier", GAIN, "≤ 1.25", at_most(1.25), "four rows of rare letters beside"),
    Attack("high_loss", GAIN, "≤ 1.25", at_most(1.25), "four unforeseeable answers beside"),
    Attack("shadow_model", GAIN, "no target", None, "four rows optimised on a model of one's own"),
    Attack("ngram_bait", GAIN, "≤ 1.05", at_most(1.05), "four rows of others' words beside"),
    Attack("poison", SHARE, "≤ 0", at_most(0), "six wrong answers to others' questions"),
    Attack("poison_on_right_answers", SHARE, "≤ 0", at_most(0), "of it, from right answers"),
    Attack("length_inflation", GAIN, "≤ 1.25", at_most(1.25), "the rows padded instead"),
    Attack("null_player", SHARE, "≤ 0.01", at_most(0.01), "six rows that nobody asks about"),
    Attack(
        "self_dealing", "part of the fees that comes back", "< 1", below(1), "asking for own rows"
    ),
    Attack(
        "self_dealing_as_builder",
        "part of the fees that comes back",
        "< 1",
        below(1),
        "of an own model",
    ),
    Attack("false_merge", "part that honest authors lose", "≤ 0.05", at_most(0.05), "look-alikes"),
    Attack(
        "same_fact_second_author", "part that the later author loses", "no target", None, "reworded"
    ),
)


class Suite:
    """The honest world and what happens to it. Worlds are trained when they are first needed."""

    def __init__(self, market: Market, seed: int = 1, size: Size | None = None) -> None:
        self.market, self.seed, self.size = market, seed, size or Size()
        world = make_world(seed, self.size.world)
        counts = Counter(row.contributor for row in world.rows)
        chosen = min(sorted(counts), key=lambda owner: abs(counts[owner] - ATTACKERS_ROWS))
        self.rows = tuple(
            replace(row, contributor=ATTACKER) if row.contributor == chosen else row
            for row in world.rows
        )
        self.own = [row for row in self.rows if row.contributor == ATTACKER]
        self.others = [row for row in self.rows if row.contributor != ATTACKER]
        unseen = [asked for asked in world.questions if asked.kind == "unseen"]
        self.questions = [*self.asked(self.rows), *unseen]

    def asked(self, rows: Sequence[Row]) -> list[Question]:
        """What is bought about these rows: wordings that were trained and others."""
        rng, found = random.Random(f"asked-{self.seed}"), []
        for row in rows:
            trained = row.wordings()[: self.market.wordings]
            held_out = held_out_wordings(row.question)[: self.size.rewordings]
            chosen = rng.sample(trained, min(self.size.trained_wordings, len(trained)))
            found += [Question("trained", True, text, row.record_id) for text in chosen]
            found += [Question("rewording", True, one.text, row.record_id) for one in held_out]
        return found

    @cached_property
    def honest(self) -> list[Outcome]:
        return [
            self.market.open(f"honest-{seed}", self.rows, self.questions, seed)
            for seed in range(1, self.size.honest_seeds + 1)
        ]

    def honest_pay(self, rule: Rule) -> list[Pay]:
        return [outcome.pay(rule) for outcome in self.honest]

    def honest_income(self, rule: Rule) -> float:
        """What the attacker earns honestly: the mean over the seeds."""
        income = _mean([pay.of(ATTACKER) for pay in self.honest_pay(rule)])
        if income <= 0:
            raise ValueError("the attacker earns nothing honestly: choose another world")
        return income

    def spread(self, rule: Rule) -> tuple[float, float]:
        """Lowest and highest honest income of a seed, in units of the mean: what chance alone does
        to a gain."""
        incomes = [pay.of(ATTACKER) for pay in self.honest_pay(rule)]
        return min(incomes) / _mean(incomes), max(incomes) / _mean(incomes)

    def attacked(self, name: str, new: Sequence[Row]) -> Outcome:
        return self.market.open(name, [*self.rows, *new], self.questions)

    def gains(self, outcome: Outcome, attackers: Sequence[str] = (ATTACKER,)) -> Figures:
        return {rule: outcome.pay(rule).of(*attackers) / self.honest_income(rule) for rule in RULES}

    def measure(self) -> dict[str, Figures]:
        """All figures, by attack; in the order of `ATTACKS`."""
        found = {
            **self._copies_of_own_rows(),
            **self._copies_of_others_rows(),
            **self._other_rows_beside(),
            **self._rows_that_earn_nothing(),
            **self.self_dealing(),
            **self._look_alikes(),
        }
        return {attack.name: found[attack.name] for attack in ATTACKS}

    def _copies_of_own_rows(self) -> dict[str, Figures]:
        found: dict[str, Figures] = {}
        for times, rows in ((2, self.own), (10, self.own), (100, self.own[:1])):
            outcome = self.attacked(f"duplicates-{times}", attacks.duplicates(rows, times))
            found[f"duplicates_{times}"] = self.gains(outcome)
            if times <= 10:
                accounts = {
                    row.record_id: f"account-{row.record_id.split('-')[1]}"
                    for row in outcome.rows
                    if row.contributor == ATTACKER and row.record_id.startswith("copy")
                }
                found[f"sybil_{times}"] = self._gains_of_accounts(outcome, accounts)
        split_up = {row.record_id: f"account-{at}" for at, row in enumerate(self.own)}
        found["sybil_split"] = {
            rule: _mean([_of_accounts(one, rule, split_up) for one in self.honest])
            / self.honest_income(rule)
            for rule in RULES
        }
        for name, change in (
            ("case", attacks.other_case),
            ("synonym", attacks.synonyms),
            ("paraphrase", attacks.paraphrase),
        ):
            rows = attacks.changed(self.own, name, change)
            found[f"near_duplicate_{name}"] = self.gains(self.attacked(name, rows))
        longer = [replace(row, answer=attacks.longer(row)[1]) for row in self.own]
        inflated = [
            {row.record_id: row for row in longer}.get(row.record_id, row) for row in self.rows
        ]
        outcome = self.market.open("length", inflated, self.questions)
        return {**found, "length_inflation": self.gains(outcome)}

    def _gains_of_accounts(self, outcome: Outcome, accounts: dict[str, str]) -> Figures:
        return {
            rule: _of_accounts(outcome, rule, accounts) / self.honest_income(rule) for rule in RULES
        }

    def _copies_of_others_rows(self) -> dict[str, Figures]:
        """The best earning rows of others are copied; what their own rows keep, and what a second
        author of the same facts loses by being counted as a copy."""
        earned: Counter[str] = Counter()
        for pay in self.honest_pay("defended"):
            earned.update(pay.records)
        ranked = sorted(self.others, key=lambda row: (-earned[row.record_id], row.record_id))
        best, found = ranked[:COPIED], {}
        names = [row.record_id for row in best]
        before = {
            rule: _mean([pay.of_records(names) for pay in self.honest_pay(rule)]) for rule in RULES
        }
        for mark, key, change in (
            ("verbatim", "copy_of_top_earner", lambda row: (row.question, row.answer)),
            ("reworded", "reworded_copy_of_top_earner", attacks.rewording),
        ):
            copies = attacks.changed(best, mark, change)
            outcome = self.attacked(mark, copies)
            found[key] = {
                rule: outcome.pay(rule).of_records(names) / before[rule] for rule in RULES
            }
        later = [row.record_id for row in copies]
        return {**found, "same_fact_second_author": _lost(outcome, later)}

    def _other_rows_beside(self) -> dict[str, Figures]:
        popular = self.asked(self.rows)
        rows = {
            "outlier": attacks.outliers(NEW_ROWS, self.seed),
            "high_loss": attacks.high_loss(self.rows, NEW_ROWS, self.seed),
            "ngram_bait": attacks.bait(self.others, NEW_ROWS, self.seed),
            "shadow_model": optimised(self.market, self.rows, popular, self.size.search, self.seed),
        }
        return {name: self.gains(self.attacked(name, new)) for name, new in rows.items()}

    def _rows_that_earn_nothing(self) -> dict[str, Figures]:
        outcome = self.attacked("poison", attacks.poison(self.others, 6, self.seed))
        right = [sale for sale in outcome.sales if sale.right]
        nothing = self.attacked("null", attacks.nothing_asked(6, self.seed))
        return {
            "poison": _share_of_fees(outcome, outcome.sales, "poison-"),
            "poison_on_right_answers": _share_of_fees(outcome, right, "poison-"),
            "null_player": _share_of_fees(nothing, nothing.sales, "null-"),
        }

    def self_dealing(self) -> dict[str, Figures]:
        """The attacker buys answers about own rows; the best of all purchases counts."""
        names = {row.record_id for row in self.own}
        bought = [
            (outcome, sale)
            for outcome in self.honest
            for sale in outcome.sales
            if sale.question.record_id in names
        ]
        return {
            name: {
                rule: max(_came_back(outcome, sale, rule, builder) for outcome, sale in bought)
                for rule in RULES
            }
            for name, builder in (("self_dealing", False), ("self_dealing_as_builder", True))
        }

    def _look_alikes(self) -> dict[str, Figures]:
        one, two = attacks.look_alikes(self.rows, self.seed)
        questions = [*self.questions, *self.asked([*one, *two])]
        outcome = self.market.open("look-alikes", [*self.rows, *one, *two], questions)
        return {"false_merge": _lost(outcome, [row.record_id for row in two])}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _of_accounts(outcome: Outcome, rule: Rule, accounts: dict[str, str]) -> float:
    pay = outcome.pay(rule, accounts)
    return pay.of(ATTACKER, *set(accounts.values()))


def _share_of_fees(outcome: Outcome, sales: Sequence[Sale], prefix: str) -> Figures:
    owners = {row.record_id: row.contributor for row in outcome.rows}
    names = [name for name in owners if name.startswith(prefix)]
    return {
        rule: paid(sales, owners, rule).of_records(names) / max(1, len(sales)) for rule in RULES
    }


def _lost(outcome: Outcome, names: Sequence[str]) -> Figures:
    """The part of their pay that records lose because of clusters; nothing without them."""
    owners = {row.record_id: row.contributor for row in outcome.rows}
    unmerged = paid(outcome.sales, owners, "defended", merged=False).of_records(names)
    kept = outcome.pay("defended").of_records(names)
    return {"undefended": 0.0, "defended": 1 - kept / unmerged if unmerged else 0.0}


def _came_back(outcome: Outcome, sale: Sale, rule: Rule, builder: bool) -> float:
    """The part of one fee that its payer gets back, by the split that the ledger posts."""
    from rewards.models import SplitParameters
    from rewards.services import split_fee

    owners = {row.record_id: row.contributor for row in outcome.rows}
    parts = split(sale.attribution, owners, rule).owner_parts
    people = sorted({*parts, ATTACKER})
    me = people.index(ATTACKER)
    shares = [(people.index(owner), part) for owner, part in parts.items()]
    cut = split_fee(FEE_WEI, SplitParameters(), me if builder else len(people), shares)
    return sum(wei for (person, _), wei in cut.earnings.items() if person == me) / FEE_WEI
