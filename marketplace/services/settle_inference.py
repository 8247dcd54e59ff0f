"""After the answer: attribution, the split of the fee, and the receipt, in one transaction."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from datanets.selectors import stake_targets_of
from marketplace import receipts
from marketplace.models import AnswerShare, Inference, Receipt
from marketplace.services.gather_evidence import (
    find_verbatim,
    influence_told,
    measure_retrieval,
    unmeasured_retrieval,
)
from modelfactory.services import (
    AttributedAnswer,
    IndexNotReady,
    NoIndex,
    answer_ids,
    attribute_answer,
    check_still_attributed,
)
from modelfactory.serving.output_guard import MARK
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.jobs import JobPostponed, Lease
from rewards.models import Settlement
from rewards.services import MakerPart, has_stakers, income_owner, settle_answer

Found = TypeVar("Found")
logger = logging.getLogger(__name__)

INDEX_WAIT_SECONDS = 2.0
INDEX_WAIT_MAX = timedelta(hours=6)
"""So long an answer waits for its index; its fee is held for much longer."""


def settle_inference(lease: Lease) -> None:
    """Attribute an answer, pay everybody who had a part in it, and issue its receipt."""
    inference = Inference.objects.select_related(
        "model__owner", "model__base", "model__run", "hold", "consumer", "agent_version__agent"
    ).get(pk=lease.job.payload["inference_id"])
    if inference.state != Inference.State.ANSWERED:
        return
    try:
        attributed, missing = _attribute(inference, lease)
        evidence = _evidence(inference, attributed, missing, lease)
    except IndexNotReady as waiting:
        raise JobPostponed(waiting.message, seconds=INDEX_WAIT_SECONDS) from waiting
    lease.report("attributed", progress=700, message="Splitting the fee.")
    with lease.fenced():
        inference = (
            Inference.objects.select_for_update(of=("self",))
            .select_related(
                "model__owner", "model__base", "hold", "consumer", "agent_version__agent"
            )
            .get(pk=inference.pk)
        )
        if inference.state != Inference.State.ANSWERED:
            return
        _check_nothing_was_withdrawn(attributed)
        weights, maker = _weights(attributed), _maker(inference)
        owner = income_owner(f"model:{inference.model.public_id}", inference.model.owner)
        settlement = settle_answer(
            hold=inference.hold,
            key=str(inference.public_id),
            fee_wei=inference.fee_wei,
            builder=owner,
            contributor_shares=[(user.pk, weight) for user, weight in weights],
            reason=f"Answer by {inference.asked_title}",
            source_url=reverse("marketplace:receipt", args=[inference.public_id]),
            stake_targets=_stake_targets(inference, attributed),
            maker=MakerPart(maker.pk, inference.maker_wei) if maker else None,
        )
        inference.state, inference.settled_at = Inference.State.SETTLED, Now()
        inference.save(update_fields=["state", "settled_at"])
        _write_shares(inference, settlement, attributed)
        _issue_receipt(inference, settlement, owner, maker, weights, evidence)


def _attribute(inference: Inference, lease: Lease) -> tuple[AttributedAnswer | None, str]:
    """The attribution, or why there is none and the fee is split by the base rule.

    Raises `IndexNotReady` while its index is being made ready, up to `INDEX_WAIT_MAX`.
    """
    if lease.job.payload.get("unattributed"):
        return None, receipts.FAILED
    try:
        found = _or_give_up(
            lease,
            f"attribution of answer {inference.public_id}",
            lambda: _attribution_of(inference),
        )
    except NoIndex:
        return None, receipts.NO_INDEX
    except IndexNotReady:
        if timezone.now() - (inference.answered_at or timezone.now()) < INDEX_WAIT_MAX:
            raise
        return None, receipts.INDEX_LATE
    return found, "" if found else receipts.FAILED


def _attribution_of(inference: Inference) -> AttributedAnswer:
    """Of the words that were delivered; where some were withheld, these get tokens of their own."""
    if not inference.response_ids:
        delivered = inference.answer.replace(MARK, " ")
        inference.response_ids = answer_ids(inference.model, inference.adapter_digest, delivered)
        inference.save(update_fields=["response_ids"])
    return attribute_answer(
        inference.model,
        inference.adapter_digest,
        messages=inference.messages,
        response_ids=inference.response_ids,
        question=inference.question,
    )


def _evidence(
    inference: Inference, attributed: AttributedAnswer | None, missing: str, lease: Lease
) -> dict[str, Any]:
    """The kinds of evidence side by side, as the receipt holds them. Only influence pays."""
    answer = f"answer {inference.public_id}"
    if lease.job.payload.get("unattributed"):
        return _nothing_measured(inference, missing)
    verbatim = _or_give_up(lease, f"spans of {answer}", lambda: find_verbatim(inference))
    return {
        "influence": influence_told(inference, attributed) if attributed else None,
        "influence_missing": missing or None,
        "verbatim": verbatim,
        **_retrieval(inference, missing, lease),
    }


def _nothing_measured(inference: Inference, missing: str) -> dict[str, Any]:
    found = unmeasured_retrieval(inference)
    return {
        "influence": None,
        "influence_missing": missing,
        "verbatim": None,
        "retrieval": found.entries,
        "retrieval_together": found.together,
    }


def _retrieval(inference: Inference, missing: str, lease: Lease) -> dict[str, Any]:
    """Without an index there is no model at hand to measure passages with either."""
    measured = None
    if missing not in (receipts.NO_INDEX, receipts.INDEX_LATE):
        what = f"passages of answer {inference.public_id}"
        measured = _or_give_up(lease, what, lambda: measure_retrieval(inference))
    found = measured or unmeasured_retrieval(inference)
    return {"retrieval": found.entries, "retrieval_together": found.together}


def _or_give_up(lease: Lease, what: str, work: Callable[[], Found]) -> Found | None:
    """What `work` finds; the last of the job's attempts goes on without it."""
    try:
        return work()
    except (IndexNotReady, NoIndex):
        raise
    except Exception:
        if lease.attempt < lease.job.attempts_max:
            raise
        logger.exception("given up: %s", what)
        return None


def _check_nothing_was_withdrawn(attributed: AttributedAnswer | None) -> None:
    """Inside the transaction that pays: rows withdrawn while the answer was scored are not paid."""
    if attributed is None:
        return
    try:
        check_still_attributed(attributed)
    except (IndexNotReady, NoIndex) as changed:
        raise JobPostponed(changed.message, seconds=INDEX_WAIT_SECONDS) from changed


def _weights(attributed: AttributedAnswer | None) -> list[tuple[User, int]]:
    """Contributors with their parts per billion, in the order of the ledger's tie rule (by id)."""
    parts = attributed.owner_parts if attributed else {}
    people = User.objects.filter(public_id__in=parts).order_by("pk")
    return [(person, parts[str(person.public_id)]) for person in people]


def _maker(inference: Inference) -> User | None:
    """Who is paid what the agent's maker asked on top; nobody where nothing was asked."""
    version = inference.agent_version
    if version is None or not inference.maker_wei:
        return None
    return income_owner(version.agent.subject, version.agent.owner)


def _stake_targets(
    inference: Inference, attributed: AttributedAnswer | None
) -> list[tuple[str, int]]:
    """Whose stakers this answer pays: of the Datanets and contributions whose records it pays, by
    their parts; of the model when it pays none (docs/decisions/0024 and 0036). An agent that
    somebody is staked on takes half, and the others the other half (0034).
    """
    targets = stake_targets_of(attributed.record_parts if attributed else {})
    targets = targets or [(f"model:{inference.model.public_id}", 1)]
    version = inference.agent_version
    if version is not None and has_stakers(version.agent.subject):
        targets.append((version.agent.subject, sum(weight for _, weight in targets)))
    return targets


def _write_shares(
    inference: Inference, settlement: Settlement, attributed: AttributedAnswer | None
) -> None:
    """A row for everybody whose records were listed, so that they find the answer; paid or not."""
    if attributed is None:
        return
    people = User.objects.filter(public_id__in=set(attributed.owners.values())).order_by("pk")
    paid = _paid(settlement)
    AnswerShare.objects.bulk_create(
        AnswerShare(
            inference=inference,
            contributor=person,
            parts=attributed.owner_parts.get(str(person.public_id), 0),
            amount_wei=paid.get(person.pk, 0),
        )
        for person in people
    )


def _paid(settlement: Settlement) -> dict[int, int]:
    """Wei by contributor."""
    return {line.user_id: line.amount_wei for line in settlement.lines.filter(role="contributor")}


def _issue_receipt(
    inference: Inference,
    settlement: Settlement,
    owner: User,
    maker: User | None,
    weights: list[tuple[User, int]],
    evidence: dict[str, Any],
) -> Receipt:
    body = _body(inference, settlement, owner, weights, evidence) | _maker_entry(maker)
    digest = receipts.digest_of(body)
    receipt = Receipt.objects.create(
        inference=inference,
        body=body,
        digest=digest,
        signature=receipts.sign(digest, receipts.signing_key(settings.SECRET_KEY)),
    )
    record_audit(
        "receipt.issued",
        actor=inference.consumer,
        subject=f"answer:{inference.public_id}",
        digest=digest,
        fee_wei=str(inference.fee_wei),
    )
    return receipt


def _body(
    inference: Inference,
    settlement: Settlement,
    owner: User,
    weights: list[tuple[User, int]],
    evidence: dict[str, Any],
) -> dict[str, Any]:
    model = inference.model
    paid = _paid(settlement)
    return {
        "schema": receipts.SCHEMA,
        "inference": str(inference.public_id),
        "issued_at": timezone.now().isoformat(),
        "consumer": str(inference.consumer.public_id),
        "model": {"slug": model.slug, "id": str(model.public_id)},
        **_agent_entry(inference),
        "adapter_digest": inference.adapter_digest,
        "base_digest": model.base.digest,
        "answer_sha256": hashlib.sha256(inference.answer.encode()).hexdigest(),
        "usage": {
            "prompt_tokens": inference.prompt_tokens,
            "completion_tokens": inference.completion_tokens,
        },
        "price": {
            "prompt_wei_per_1000": str(model.price_prompt_wei),
            "completion_wei_per_1000": str(model.price_completion_wei),
            "platform_fee_wei": str(model.platform_fee_wei),
            "maker_ppm": inference.maker_ppm,
        },
        "fee_wei": str(settlement.fee_wei),
        "parameters": settlement.parameters.as_dict(),
        "split": {name: str(getattr(settlement, name)) for name in receipts.PARTS},
        "builder": str(owner.public_id),
        "contributors": [
            {
                "user": str(person.public_id),
                "weight": weight,
                "wei": str(paid.get(person.pk, 0)),
            }
            for person, weight in weights
        ],
        "evidence": evidence,
    }


def _maker_entry(maker: User | None) -> dict[str, str]:
    return {"maker": str(maker.public_id)} if maker else {}


def _agent_entry(inference: Inference) -> dict[str, Any]:
    """The agent that was asked, and by digest what it answered with; its words are its owner's."""
    version = inference.agent_version
    if version is None:
        return {}
    return {
        "agent": {
            "slug": version.agent.slug,
            "id": str(version.agent.public_id),
            "version": version.number,
            "digest": version.digest,
        }
    }
