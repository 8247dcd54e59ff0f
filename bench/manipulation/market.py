"""One world through the product's own code: trained, indexed, asked, attributed and paid.

Each answer earns a fee of one. *Defended* is the product's own split. *Undefended* takes its scores
and pays every record with a positive one: no clusters, no clip, no threshold.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from bench.influence.bank import bench_recipe
from bench.influence.world import Question, Row
from modelfactory.attribution.job import BuildSpec, read_job
from modelfactory.attribution.record import Attribution, ScoredRecord
from modelfactory.attribution.shares import PARTS, PayoutRule, RecordScore, Shares, compute_shares
from modelfactory.attribution.worker import AttributionWorker, run_build, token_example
from modelfactory.training.adapter import adapter_digest
from modelfactory.training.base_files import SHIPPED_BASE, base_digest
from modelfactory.training.chat import messages_for
from modelfactory.training.evaluate import answers, exact_match
from modelfactory.training.lora import train_and_keep
from modelfactory.training.recipe import Example, write_examples

LONGEST = 512
WORDINGS = 4
BATCH = 4
PAID_RECORDS = 64  # as many as an answer of the site lists


Rule = Literal["undefended", "defended"]
RULES: tuple[Rule, ...] = ("undefended", "defended")


@dataclass(frozen=True)
class Sale:
    """One answered question, with every record's score."""

    question: Question
    answer: str
    right: bool
    attribution: Attribution


@dataclass(frozen=True)
class Pay:
    """What all answers together paid, in fees: by record and by contributor."""

    records: dict[str, float]
    owners: dict[str, float]

    def of(self, *owners: str) -> float:
        return sum(self.owners.get(owner, 0.0) for owner in owners)

    def of_records(self, names: Sequence[str]) -> float:
        return sum(self.records.get(name, 0.0) for name in names)

    @property
    def total(self) -> float:
        return sum(self.owners.values())


@dataclass(frozen=True)
class Outcome:
    """The sales of one world and who owns its rows."""

    rows: tuple[Row, ...]
    sales: tuple[Sale, ...]

    def pay(self, rule: Rule, owners: dict[str, str] | None = None) -> Pay:
        """``owners`` may say that rows belong to others than they do."""
        named = {row.record_id: row.contributor for row in self.rows} | (owners or {})
        return paid(self.sales, named, rule)


def paid(sales: Sequence[Sale], owners: dict[str, str], rule: Rule, *, merged: bool = True) -> Pay:
    """What these sales paid; ``merged`` false leaves out the clusters only."""
    pay = Pay({}, {})
    for sale in sales:
        shares = split(sale.attribution, owners, rule, merged=merged)
        for parts, into in ((shares.record_parts, pay.records), (shares.owner_parts, pay.owners)):
            for name, part in parts.items():
                into[name] = into.get(name, 0.0) + part / PARTS
    return pay


def split(
    attribution: Attribution, owners: dict[str, str], rule: Rule, *, merged: bool = True
) -> Shares:
    if rule == "undefended":
        every = [alone(record, owners) for record in attribution.records]
        return compute_shares(every, PayoutRule(threshold=0))
    listed = attribution.records[:PAID_RECORDS]
    scores = (
        attribution.record_scores(owners)[:PAID_RECORDS]
        if merged
        else [alone(record, owners) for record in listed]
    )
    return compute_shares(scores, attribution.payout_rule())


def alone(record: ScoredRecord, owners: dict[str, str]) -> RecordScore:
    """A record as the only one of its cluster."""
    return RecordScore(record.record_id, owners[record.record_id], record.record_id, record.score)


@dataclass(frozen=True)
class Market:
    """Where worlds are trained; one folder a world."""

    folder: Path
    epochs: int = 6
    wordings: int = WORDINGS

    def examples(self, rows: Sequence[Row]) -> list[Example]:
        return [
            Example(row.record_id, wording, row.answer)
            for row in rows
            for wording in row.wordings()[: self.wordings]
        ]

    def open(
        self,
        name: str,
        rows: Sequence[Row],
        questions: Sequence[Question],
        seed: int = 1,
        watched: Sequence[Row] = (),
    ) -> Outcome:
        """Train on ``rows`` (oldest first), sell answers to ``questions``. ``watched`` rows are
        indexed and scored as if they had been trained on."""
        kept = self.folder / f"{name}.json"
        if kept.exists():
            return _read(kept)
        torch.set_num_threads(1)
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        recipe = bench_recipe(seed, epochs=self.epochs, batch_size=BATCH)
        _, model, tokenizer = train_and_keep(recipe, self.examples(rows), place / "run")
        said = answers(model, tokenizer, [messages_for(asked.text) for asked in questions])
        every = [*rows, *watched]
        digest = self._index(place, every)
        expected = {row.record_id: row.answer for row in every}
        worker = AttributionWorker(str(SHIPPED_BASE), place / "adapters", place / "indexes")
        sales = []
        for asked, answer in zip(questions, said, strict=True):
            if not answer:
                continue
            tokens = token_example(tokenizer, Example("", asked.text, answer), LONGEST)
            found = worker.attribute(
                {
                    "adapter_digest": digest,
                    "prompt_ids": tokens.prompt_ids,
                    "response_ids": tokens.response_ids,
                    "question": asked.text,
                    "parameters": {"listed_records": len(every)},
                }
            )
            right = exact_match(expected.get(asked.record_id, ""), answer)
            sales.append(Sale(asked, answer, right, found))
        shutil.rmtree(place, ignore_errors=True)
        _write(kept, Outcome(tuple(every), tuple(sales)))
        return _read(kept)

    def _index(self, place: Path, rows: Sequence[Row]) -> str:
        """Index the trained adapter, by the build that the site runs; returns its digest."""
        adapters, job = place / "adapters", place / "build"
        job.mkdir(parents=True)
        final, *trail = (
            self._keep(folder, adapters)
            for folder in (place / "run/adapter", *sorted((place / "run/trail").iterdir()))
        )
        spec = BuildSpec(
            base=str(SHIPPED_BASE),
            adapter=str(final),
            base_digest=base_digest(SHIPPED_BASE),
            trail=[str(path) for path in trail],
        )
        (job / "spec.json").write_text(spec.to_json(), encoding="utf-8")
        write_examples(job / "records.jsonl", self.examples(rows))
        run_build(read_job(job), job)
        (place / "indexes").mkdir()
        shutil.move(job / "index", place / "indexes" / final.name)
        return final.name

    def _keep(self, source: Path, adapters: Path) -> Path:
        target = adapters / adapter_digest(source)
        if not target.exists():
            shutil.copytree(source, target)
        return target


def _write(path: Path, outcome: Outcome) -> None:
    """Keep an outcome, so that a broken run goes on from there."""
    document: dict[str, Any] = {
        "rows": [asdict(row) for row in outcome.rows],
        "sales": [
            {**asdict(sale), "attribution": sale.attribution.to_json()} for sale in outcome.sales
        ],
    }
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.rename(path)


def _read(path: Path) -> Outcome:
    document = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(
        tuple(Row(**row) for row in document["rows"]),
        tuple(
            Sale(
                Question(**sale["question"]),
                sale["answer"],
                sale["right"],
                Attribution.from_json(sale["attribution"]),
            )
            for sale in document["sales"]
        ),
    )
