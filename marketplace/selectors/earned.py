"""A contributor's side of answers: which ones paid, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import Http404
from django.utils.text import Truncator

from datanets.models import Record, VersionRecord
from datanets.selectors import RecordCard, record_cards
from marketplace.models import AnswerShare, Inference
from marketplace.selectors.disputes import disputes_about
from marketplace.selectors.evidence import evidence_records, own_evidence
from modelfactory.fidelity import Agreement, fidelity_of
from modelfactory.models import Calibration, Model, ModelContributor
from openledger_site.core.money import split_wei
from rewards.models import EarningLine

# What belongs to the consumer, and is never needed to tell a contributor why they earned.
TEXTS = ("messages", "answer", "prompt_ids", "response_ids", "sampling")
COUNTED_MAX = 10_000
"""A list shows and counts its newest so many."""
UNLISTED_MAX = 40
"""Rows that a form offers beside the listed ones; others are named by their ids."""


@dataclass(frozen=True)
class OwnRow:
    """One of the reader's records that was listed. Scores are whole units of the receipt's scale.

    `deviation` is the score's uncertainty in the same units, None where it was not measured.
    `original` is empty, or the id of the older row that this one is a near-copy of.
    """

    card: RecordCard
    score: int
    deviation: int | None
    threshold: int
    percent: float
    amount_wei: int
    original: str

    @property
    def words(self) -> str:
        return self.card.question or self.card.text

    @property
    def counted(self) -> bool:
        return self.percent > 0

    @property
    def certainty(self) -> str:
        """How sure it is that this row moved the answer, from how far it is above the threshold."""
        if self.original:
            return "Counted with its older copy"
        if not self.counted:
            return "Not above noise"
        if self.deviation is None:
            return "Above noise; how far off is not known"
        deviations = (self.score - self.threshold) / self.deviation
        if deviations >= 2:
            return "Very likely moved it"
        return "Likely moved it" if deviations >= 1 else "May have moved it"


@dataclass(frozen=True)
class EarnedTotals:
    """Answers by models that learnt a person's rows: paid, listed without pay, and the others.

    `others` is counted up to `COUNTED_MAX`, so that a page never counts a whole market.
    """

    paid: int
    unpaid: int
    others: int

    @property
    def listed(self) -> int:
        return self.paid + self.unpaid

    @property
    def others_words(self) -> str:
        return f"{self.others:,}" if self.others < COUNTED_MAX else f"{COUNTED_MAX:,} or more"


def earned_totals(user: Any) -> EarnedTotals:
    own = AnswerShare.objects.filter(contributor_id=user.pk)
    counts = own.aggregate(paid=Count("pk", filter=Q(parts__gt=0)), listed=Count("pk"))
    return EarnedTotals(
        counts["paid"], counts["listed"] - counts["paid"], others_of(user)[:COUNTED_MAX].count()
    )


def others_of(user: Any) -> QuerySet[Inference]:
    """Answers by models that learnt this person's rows, none of which was listed, newest first.

    A receipt lists the rows nearest to its answer. `paid_others`: rows of somebody else were paid.
    """
    taught = ModelContributor.objects.filter(contributor_id=user.pk)
    shared = AnswerShare.objects.filter(inference=OuterRef("pk"), contributor_id=user.pk)
    paid = AnswerShare.objects.filter(inference=OuterRef("pk"), parts__gt=0)
    return (
        Inference.objects.filter(model__in=taught.values("model"), state=Inference.State.SETTLED)
        .exclude(Exists(shared))
        .annotate(paid_others=Exists(paid))
        .select_related("model")
        .defer(*TEXTS)
        .order_by("-id")
    )


def earned_by(user: Any) -> QuerySet[AnswerShare]:
    """Answers that listed this person's rows, newest first, without the consumers' texts."""
    return (
        AnswerShare.objects.filter(contributor_id=user.pk)
        .select_related("inference__model", "inference__hold__settlement")
        .defer(*(f"inference__{name}" for name in TEXTS))
        .order_by("-inference_id")
    )


def concerned_answer_for(user: Any, public_id: UUID) -> Inference:
    """A settled answer, for whom it concerns: its consumer, the model's owner, who was paid as its
    owner, and those whose rows taught the model. 404 for everybody else.
    """
    earned = EarningLine.objects.filter(settlement__hold=OuterRef("hold"), user_id=user.pk)
    shared = AnswerShare.objects.filter(inference=OuterRef("pk"), contributor_id=user.pk)
    taught = ModelContributor.objects.filter(model=OuterRef("model"), contributor_id=user.pk)
    concerned = Q(consumer_id=user.pk) | Q(model__owner_id=user.pk)
    inference = (
        Inference.objects.filter(public_id=public_id, state=Inference.State.SETTLED)
        .filter(concerned | Exists(shared) | Exists(taught) | Exists(earned))
        .select_related("model__owner", "model__run", "receipt", "hold__settlement")
        .prefetch_related("shares")
        .first()
    )
    if inference is None:
        raise Http404("No such answer.")
    return inference


def taught_records(user: Any, inference: Inference) -> QuerySet[Record]:
    """The person's own rows that the answering model learnt and that are not withdrawn since."""
    learnt = VersionRecord.objects.filter(
        version_id=inference.model.run.version_id, split=VersionRecord.Split.TRAIN
    )
    own = Record.objects.filter(
        contribution__contributor_id=user.pk, pk__in=learnt.values("record")
    )
    return own.exclude(state=Record.State.WITHDRAWN)


def own_records(user: Any, inference: Inference) -> list[OwnRow]:
    """The listed records of this person, highest score first; their wei sum to the share's."""
    influence = inference.receipt.body["evidence"]["influence"]
    if influence is None:
        return []
    attribution, parts = influence["attribution"], influence["record_parts"]
    mine = [
        row
        for row in attribution["records"]
        if influence["owners"].get(row["record_id"]) == str(user.public_id)
    ]
    cards = record_cards(user, [row["record_id"] for row in mine])
    mine = [row for row in mine if row["record_id"] in cards]
    share = _share_of(user, inference)
    paid_wei = share.amount_wei if share else 0
    weights = [parts.get(row["record_id"], 0) for row in mine]
    return [
        OwnRow(
            card=cards[row["record_id"]],
            score=row["score"],
            deviation=row.get("deviation") or None,
            threshold=attribution["threshold"],
            percent=weight / 10_000_000,
            amount_wei=amount_wei,
            original="" if row["cluster"] == row["record_id"] else row["cluster"],
        )
        for row, weight, amount_wei in zip(mine, weights, split_wei(paid_wei, weights), strict=True)
    ]


def disputable_rows(user: Any, inference: Inference) -> list[tuple[str, str]]:
    """The rows of this person that can be doubted, as choices of a form: those that the receipt
    lists, highest score first, then `UNLISTED_MAX` others that the model learnt.
    """
    taught = taught_records(user, inference)
    listed = own_records(user, inference)
    ids = [row.card.record_id for row in listed]
    names = taught.values_list("public_id", flat=True)
    still = {str(name) for name in names.filter(public_id__in=ids)}
    others = [str(name) for name in names.exclude(public_id__in=ids).order_by("pk")[:UNLISTED_MAX]]
    cards = record_cards(user, others)
    return [
        (row.card.record_id, f"{Truncator(row.words).chars(90)} ({row.percent:.2f} %)")
        for row in listed
        if row.card.record_id in still
    ] + [
        (name, f"{Truncator(cards[name].question or cards[name].text).chars(90)} (not listed)")
        for name in others
    ]


def earned_view(user: Any, inference: Inference) -> dict[str, Any]:
    """What the page "Why did I earn this?" shows to this reader; no text that is not theirs."""
    model, body = inference.model, inference.receipt.body
    influence = body["evidence"]["influence"]
    attribution = influence["attribution"] if influence else {}
    rows, share = own_records(user, inference), _share_of(user, inference)
    may_dispute = taught_records(user, inference).exists()
    others = [s for s in inference.shares.all() if s.parts and s.contributor_id != user.pk]
    settlement = inference.hold.settlement
    return {
        "inference": inference,
        "reads_text": user.pk == inference.consumer_id,
        "reads_receipt": user.pk == inference.consumer_id,
        "reads_model": model.visibility == Model.Visibility.PUBLIC or model.owner_id == user.pk,
        "title": _title(share, may_dispute),
        "share": share,
        "rows": rows,
        "own_evidence": _own_evidence(user, body),
        "others": len(others),
        "attributable": bool(influence and influence["owner_parts"]),
        "method": attribution.get("method", ""),
        "influence_missing": body["evidence"].get("influence_missing"),
        "attribution": attribution,
        "contributors_percent": f"{body['parameters']['contributors_ppm'] / 10_000:g}",
        "contributors_wei": int(body["split"]["contributors_wei"]),
        "counted": sum(row.counted for row in rows),
        "agreements": agreements_of(model),
        "refunded": settlement.refund_id is not None,
        "learnt": model.run.training_row_count,
        "has_deviation": any(row.deviation for row in rows),
        "may_dispute": may_dispute,
        "disputes": disputes_about(user, inference),
    }


def _own_evidence(user: Any, body: dict[str, Any]) -> list[dict[str, Any]]:
    cards = record_cards(user, evidence_records(body))
    return own_evidence(
        body, {name: card for name, card in cards.items() if card.contributor_pk == user.pk}
    )


def _share_of(user: Any, inference: Inference) -> AnswerShare | None:
    return next((s for s in inference.shares.all() if s.contributor_id == user.pk), None)


def _title(share: AnswerShare | None, taught: bool) -> str:
    if share is not None and share.parts:
        return "Why did I earn this?"
    return "Why did I earn nothing?" if taught or share else "Who earned this, and why?"


def agreements_of(model: Model) -> list[Agreement]:
    """How well this model's scores predict real retraining; empty while that is not measured."""
    found = Calibration.objects.filter(
        index__adapter_digest=model.adapter_digest, ready_at__isnull=False
    ).first()
    return fidelity_of(found.fidelity).agreements if found is not None else []
