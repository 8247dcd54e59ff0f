"""Receipts against the books: what was signed is what was posted. Part of `reconcile`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import DecimalField, F, Sum, Value
from django.db.models.functions import Coalesce

from marketplace import receipts
from marketplace.models import Inference, Receipt
from rewards.models import Settlement


def check_receipts() -> list[str]:
    """Problems, empty when each settled answer has a receipt that says what the ledger says."""
    return [*_answers_without_receipt(), *_receipts_that_differ(), *_shares_that_differ()]


def _answers_without_receipt() -> Iterator[str]:
    settled = Inference.objects.filter(state=Inference.State.SETTLED, receipt=None)
    for public_id in settled.values_list("public_id", flat=True):
        yield f"answer {public_id} is settled and has no receipt"


def _receipts_that_differ() -> Iterator[str]:
    rows = Receipt.objects.select_related(
        "inference__hold__settlement", "inference__agent_version"
    ).order_by("pk")
    for receipt in rows.iterator(chunk_size=500):
        answer = f"answer {receipt.inference.public_id}"
        settlement = getattr(receipt.inference.hold, "settlement", None)
        is_whole = "erased_at" not in receipt.body
        if is_whole and receipts.digest_of(receipt.body) != receipt.digest:
            yield f"the receipt of {answer} is not the one that was signed"
        elif is_whole == receipt.inference.erased:
            yield f"{answer} and its receipt differ in whether they were erased"
        elif settlement is None:
            yield f"{answer} has a receipt and was never settled"
        elif _stated(receipt.body) != _posted(receipt.inference, settlement):
            yield f"the receipt of {answer} says other amounts than the ledger"
        elif receipt.body.get("agent", {}).get("digest") != _agent_digest(receipt.inference):
            yield f"the receipt of {answer} names another agent than was asked"


def _agent_digest(inference: Inference) -> str | None:
    return inference.agent_version.digest if inference.agent_version else None


def _stated(body: dict[str, Any]) -> dict[str, int]:
    # Receipts from before makers had a part say nothing of one.
    split = {name: int(body["split"].get(name, 0)) for name in receipts.PARTS}
    return {"answer_wei": int(body["fee_wei"]), "fee_wei": int(body["fee_wei"]), **split}


def _posted(inference: Inference, settlement: Settlement) -> dict[str, int]:
    split = {name: int(getattr(settlement, name)) for name in receipts.PARTS}
    return {"answer_wei": inference.fee_wei, "fee_wei": settlement.fee_wei, **split}


def _shares_that_differ() -> Iterator[str]:
    """The contributors' lists are read from shares, so these must sum to what was posted."""
    rows = Inference.objects.filter(state=Inference.State.SETTLED).annotate(
        shared_wei=Coalesce(Sum("shares__amount_wei"), Value(0), output_field=DecimalField())
    )
    differing = rows.exclude(shared_wei=F("hold__settlement__contributors_wei"))
    for public_id in differing.order_by("pk").values_list("public_id", flat=True):
        yield f"the shares of answer {public_id} are not what its contributors were paid"
