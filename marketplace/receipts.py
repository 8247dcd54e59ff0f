"""A receipt as a document: build it, sign it, replay it. No database here.

`{"body": {…}, "digest": sha256, "signature": ed25519, "public_key": …}`. The digest is over the
canonical JSON of the body (UTF-8, sorted keys, no spaces); wei are strings, since JSON numbers lose
digits in other languages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from marketplace.maker_part import with_maker_part
from modelfactory.attribution.calibration import calibration_folder
from modelfactory.attribution.index import IndexDamagedError
from modelfactory.attribution.record import (
    Attribution,
    IndexMovedOnError,
    ReplayMismatchError,
    replay,
)
from modelfactory.attribution.shares import compute_shares
from modelfactory.services.pricing import fee_wei
from rewards.models import SplitParameters
from rewards.services import MakerPart, split_fee

SCHEMA = 3
# Schema 1 told which passages were read, and neither what they did nor verbatim spans; up to 2 the
# maker of an agent had no part.
SCHEMAS_READ = (1, 2, 3)
PARTS = (
    "contributors_wei",
    "reserve_wei",
    "builder_wei",
    "stakers_wei",
    "platform_wei",
    "dust_wei",
    "maker_wei",
)
# Why an answer has no influence; receipts from before this was told have none of these.
NO_INDEX, INDEX_LATE, FAILED = "no_index", "index_late", "failed"
# `split_fee` names people by number; on a receipt they are numbered in the order they are listed.
BUILDER, MAKER = -1, -2

MOVED_ON = {
    "withdrawal": "not replayed, since rows were withdrawn from the index after this answer",
    "append": "not replayed, since rows were added to the index after this answer",
    "rebuild": "not replayed, since the index was built anew after this answer",
}


def canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(body)).hexdigest()


def signing_key(secret: str) -> Ed25519PrivateKey:
    """The site's receipt key, derived from its secret (SHA-256, domain-separated)."""
    seed = hashlib.sha256(b"openledger receipt key v1\0" + secret.encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def without_text(body: Mapping[str, Any], erased_at: str) -> dict[str, Any]:
    """`body` without what spells out question or answer: tokens, words, gradient, places, hash, and
    how well the words fit each row.

    Whom it paid, by which scores, and what was read stay. The digest is that of the whole body, so
    only a copy from before can be checked against it.
    """
    evidence = dict(body["evidence"])
    if evidence["influence"]:
        query: dict[str, list[str]] = {"sketches": [], "prompt_words": [], "response_words": []}
        attribution = evidence["influence"]["attribution"]
        records = [row | {"lexical_micro": 0} for row in attribution["records"]]
        nothing = {"prompt_ids": [], "response_ids": [], "query": query, "records": records}
        attribution = attribution | nothing
        evidence["influence"] = evidence["influence"] | {"attribution": attribution}
    if "verbatim" in evidence:
        evidence["verbatim"] = None
    return {**body, "evidence": evidence, "answer_sha256": "", "erased_at": erased_at}


def sign(digest: str, key: Ed25519PrivateKey) -> str:
    return key.sign(bytes.fromhex(digest)).hex()


@dataclass
class Verification:
    """What was recomputed, and what did not come out the same."""

    checked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def expect(self, name: str, expected: object, found: object) -> None:
        self.checked.append(name)
        if expected != found:
            self.problems.append(f"{name}: the receipt says {expected}, replayed {found}")


def verify(
    receipt: Mapping[str, Any], *, index_folder: Path | None = None, public_key: str | None = None
) -> Verification:
    """Recompute a receipt from what it contains, and from the attribution index where one is given.

    Without the index the scores are taken as stated and everything from them on is replayed. Raises
    `ValueError` when the document is not a receipt.
    """
    result = Verification()
    try:
        body = receipt["body"]
        if body["schema"] not in SCHEMAS_READ:
            raise ValueError(f"This program reads receipts of schema {SCHEMAS_READ}.")
        if "erased_at" in body:
            raise ValueError(
                f"What was asked and answered was erased on {body['erased_at']}. Only a copy of the"
                " receipt from before can be checked."
            )
        _check_seal(receipt, body, public_key, result)
        _check_agent(body, result)
        _check_fee(body, result)
        weights = _check_shares(body, result)
        _check_split(body, weights, result)
        _check_scores(body, index_folder, result)
        if body["schema"] >= 2:
            _check_passages(body["evidence"], result)
            _check_verbatim(body["evidence"]["verbatim"], result)
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError(
            f"This is not a receipt: {problem!r} is missing or malformed."
        ) from problem
    return result


def _check_seal(
    receipt: Mapping[str, Any],
    body: Mapping[str, Any],
    public_key: str | None,
    result: Verification,
) -> None:
    digest = digest_of(body)
    result.expect("digest", receipt["digest"], digest)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key or receipt["public_key"]))
    try:
        key.verify(bytes.fromhex(receipt["signature"]), bytes.fromhex(digest))
        result.checked.append("signature")
    except InvalidSignature:
        result.problems.append("signature: not by this key over this body")


def _check_agent(body: Mapping[str, Any], result: Verification) -> None:
    """Answers that no agent gave name none. The digest is over settings that may be its owner's
    alone, so what it stands for is not recomputed here.
    """
    if "agent" not in body:
        return
    agent = body["agent"]
    bytes_named = len(bytes.fromhex(agent["digest"]))
    result.expect("version of the agent", (True, 32), (agent["version"] >= 1, bytes_named))
    result.skipped.append("settings of the agent: its page says what the digest is over")


def _check_fee(body: Mapping[str, Any], result: Verification) -> None:
    usage, price = body["usage"], body["price"]
    fee = fee_wei(
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        price_prompt_wei=int(price["prompt_wei_per_1000"]),
        price_completion_wei=int(price["completion_wei_per_1000"]),
        platform_fee_wei=int(price["platform_fee_wei"]),
    )
    paid = with_maker_part(fee, price.get("maker_ppm", 0))
    result.expect("fee", int(body["fee_wei"]), paid)
    result.expect("maker's part", int(body["split"].get("maker_wei", 0)), paid - fee)


def _check_shares(body: Mapping[str, Any], result: Verification) -> dict[str, int]:
    """Parts per billion by contributor, recomputed from the scores."""
    influence = body["evidence"]["influence"]
    if influence is None:
        why = body["evidence"].get("influence_missing") or "not told"
        result.skipped.append(f"influence: none was computed for this answer ({why})")
        return {}
    attribution = Attribution.from_json(influence["attribution"])
    shares = compute_shares(
        attribution.record_scores(influence["owners"]), attribution.payout_rule()
    )
    result.expect("record shares", influence["record_parts"], shares.record_parts)
    result.expect("contributor shares", influence["owner_parts"], shares.owner_parts)
    return shares.owner_parts


def _check_split(body: Mapping[str, Any], weights: dict[str, int], result: Verification) -> None:
    people = body["contributors"]
    result.expect(
        "contributors", {p["user"]: p["weight"] for p in people}, {p: weights[p] for p in weights}
    )
    stated = {name: int(wei) for name, wei in body["split"].items()}
    maker_wei = stated.get("maker_wei", 0)
    result.expect("maker", maker_wei > 0, "maker" in body)
    parameters = {name: value for name, value in body["parameters"].items() if name != "version"}
    split = split_fee(
        int(body["fee_wei"]),
        SplitParameters(**parameters),
        BUILDER if body["builder"] else None,
        [(number, person["weight"]) for number, person in enumerate(people)],
        MakerPart(MAKER, maker_wei),
    )
    for number, person in enumerate(people):
        paid = split.earnings.get((number, "contributor"), 0)
        result.expect(f"pay of {person['user']}", int(person["wei"]), paid)
    result.expect("contributors' part", stated["contributors_wei"], split.earned_wei("contributor"))
    result.expect("builder's part", stated["builder_wei"], split.earned_wei("builder"))
    for name in ("reserve_wei", "stakers_wei", "platform_wei", "dust_wei"):
        result.expect(name, stated[name], getattr(split, name))
    result.expect("sum of the parts", int(body["fee_wei"]), sum(stated.values()))


def _check_scores(body: Mapping[str, Any], folder: Path | None, result: Verification) -> None:
    influence = body["evidence"]["influence"]
    if influence is None:
        return
    if folder is None or not folder.exists():
        result.skipped.append("scores: the attribution index is not here; give --index FOLDER")
        return
    try:
        calibration = calibration_folder(folder.parent, folder.name)
        replay(influence["attribution"], folder, calibration if calibration.exists() else None)
        result.checked.append("scores from the index")
    except IndexMovedOnError as moved:
        result.skipped.append(f"scores: {MOVED_ON[str(moved)]}; all that follows from them was")
    except (ReplayMismatchError, IndexDamagedError) as problem:
        result.problems.append(f"scores: {problem}")


def _check_passages(evidence: Mapping[str, Any], result: Verification) -> None:
    """The effects follow from the log-probabilities, which only the model can measure again."""
    together = evidence["retrieval_together"]
    for passage in evidence["retrieval"]:
        without, effect = passage["log_probability_without_micro_nats"], None
        if passage["state"] == "measured":
            effect = together["log_probability_micro_nats"] - without
        name = f"effect of passage {passage['record']}"
        result.expect(
            name, (without is None, passage["effect_micro_nats"]), (effect is None, effect)
        )
    if together is not None:
        none = together["log_probability_without_any_micro_nats"]
        effect = together["log_probability_micro_nats"] - none
        result.expect("effect of all passages", together["effect_micro_nats"], effect)
        result.skipped.append("log-probabilities without passages: they need the model")


def _check_verbatim(spans: Sequence[Mapping[str, Any]] | None, result: Verification) -> None:
    """Whether the spans are possible; that their words stand in the rows only the rows can say."""
    if spans is None:
        result.skipped.append("verbatim spans: they were not searched for")
        return
    counts = [(len(span["records"]), len(set(span["records"])), span["rows"]) for span in spans]
    listed = all(1 <= listed == distinct <= rows for listed, distinct, rows in counts)
    result.expect("rows of verbatim spans", True, listed)
    placed = [(span["start"], span["end"]) for span in spans if span["start"] is not None]
    possible = all(0 <= start < end for start, end in placed)
    result.expect("places of verbatim spans", True, possible and placed == sorted(placed))
    if spans:
        result.skipped.append("words of verbatim spans: they need the rows' text")
