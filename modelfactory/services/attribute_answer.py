"""Ask which rows moved an answer, and turn their scores into shares. Attribution worker only.

The class that needs torch is reached by its dotted path in `settings.ATTRIBUTOR`, so that the
processes which merely import this package never load it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.utils.module_loading import import_string

from datanets.models import Record
from modelfactory.attribution.calibration import CalibrationDamagedError
from modelfactory.attribution.index import IndexDamagedError
from modelfactory.attribution.record import Attribution
from modelfactory.attribution.shares import compute_shares
from modelfactory.models import AttributionIndex, Calibration, Model
from modelfactory.selectors import index_of
from modelfactory.services.base_models import base_source
from modelfactory.services.queue_following import queue_following
from modelfactory.services.repair_attribution import calibration_damaged, index_damaged
from openledger_site.core.errors import DomainError, Unavailable
from openledger_site.core.row_security import all_rows

Answer = TypeVar("Answer")
BASES_LOADED = 1  # a base can take most of a worker's memory


class IndexNotReady(Unavailable):
    """A job is about to make it ready: wait for that."""

    code = "attribution_index_not_ready"
    message = "The index that credits this model's rows is being made ready."


class NoIndex(DomainError):
    """There is no index of the rows, and no job makes one: the fallback rule applies."""

    code = "no_attribution_index"
    message = "No index of the rows that this model learnt: the base rule applies."


@dataclass(frozen=True)
class AttributedAnswer:
    """One answer's attribution, as a receipt holds it.

    `attribution` is `modelfactory.attribution.record.Attribution` as JSON, enough to replay it;
    `owners` maps the listed records to their contributors (public ids); parts are per billion and
    sum to one billion, or are empty when no row stands out from noise.
    """

    attribution: dict[str, Any]
    owners: dict[str, str]
    record_parts: dict[str, int]
    owner_parts: dict[str, int]

    @property
    def attributable(self) -> bool:
        return bool(self.owner_parts)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def attribute_answer(
    model: Model,
    adapter_digest: str,
    messages: Sequence[Mapping[str, str]],
    response_ids: Sequence[int],
    question: str | None = None,
) -> AttributedAnswer:
    """Attribute the answer `response_ids` to `messages`; BM25 stands beside it for `question`.

    `adapter_digest` names the adapter that gave the answer: it is attributed by that one's index,
    whatever the model is now. `messages` are the person's own, without retrieved passages: what was
    read is a fact of its own on the receipt, and influence is about what was learnt
    (docs/decisions/0011).

    Raises `IndexNotReady` and `NoIndex`.
    """
    request = {
        "messages": [dict(message) for message in messages],
        "response_ids": list(response_ids),
        "question": question,
    }
    return share_out(
        asked(model, adapter_digest, lambda worker, named: worker.attribute(named | request))
    )


def answer_ids(model: Model, adapter_digest: str, text: str) -> list[int]:
    """The tokens of an answer of which only the text is kept. Raises `IndexNotReady`, `NoIndex`."""
    return asked(model, adapter_digest, lambda worker, named: worker.response_ids(text))


def asked(
    model: Model, adapter_digest: str, question: Callable[[Any, dict[str, Any]], Answer]
) -> Answer:
    """What `question` gets from the worker, given the digests that it has to name.

    Damage that is met is marked and mended by a job. Raises `IndexNotReady` and `NoIndex`.
    """
    index = usable_index(adapter_digest)
    calibration = measured_calibration(index)
    folders = (str(settings.ADAPTERS_DIR), str(settings.ATTRIBUTION_DIR))
    named = {
        "adapter_digest": adapter_digest,
        "index_digest": index.digest,
        "calibration_digest": calibration.digest if calibration else "",
    }
    try:
        return question(_attributor(base_source(model.base), *folders), named)
    except CalibrationDamagedError as damage:
        calibration_damaged(index)
        raise IndexNotReady() from damage
    except IndexDamagedError as damage:
        index_damaged(index)
        raise IndexNotReady() from damage


def usable_index(adapter_digest: str) -> AttributionIndex:
    """The index, ready and without any row that is withdrawn at this moment."""
    index = index_of(adapter_digest)
    if index is None or (index.ready_at is None and not index.being_made):
        raise NoIndex()
    if index.ready_at is None or queue_following(index):
        raise IndexNotReady()
    return index


def check_still_attributed(attributed: AttributedAnswer) -> None:
    """Raise `IndexNotReady` where a row was withdrawn, or the index replaced, since it was asked.

    For the transaction that pays: a withdrawal that was first leaves no score behind.
    """
    index = usable_index(attributed.attribution["adapter_digest"])
    if index.digest != attributed.attribution["index_digest"]:
        raise IndexNotReady()


def measured_calibration(index: AttributionIndex) -> Calibration | None:
    """The calibration that the score is taken from; while a damaged one is mended, wait."""
    calibration: Calibration | None = getattr(index, "calibration", None)
    if calibration is None or calibration.ready_at is not None:
        return calibration
    job = calibration.job if calibration.damaged_at is not None else None
    if job is not None and not job.ended:
        raise IndexNotReady()
    return None


@lru_cache(maxsize=BASES_LOADED)
def _attributor(base: str, adapters: str, indexes: str) -> Any:
    """The base with its adapters and indexes, kept loaded between jobs."""
    return import_string(settings.ATTRIBUTOR)(base, Path(adapters), Path(indexes))


def load_attributor() -> None:
    """Import what the first answer of this worker would wait for: its libraries take seconds."""
    import_string(settings.ATTRIBUTOR)


@all_rows("shares are of all owners, never of those that a reader sees")
def share_out(attribution: Attribution) -> AttributedAnswer:
    """Shares of the contributors who own the listed records, by the integer rule of `shares`."""
    listed = [record.record_id for record in attribution.records]
    pairs = Record.objects.filter(public_id__in=listed).values_list(
        "public_id", "contribution__contributor__public_id"
    )
    owners = {str(record): str(person) for record, person in pairs}
    shares = compute_shares(attribution.record_scores(owners), attribution.payout_rule())
    return AttributedAnswer(
        attribution.to_json(), owners, dict(shares.record_parts), dict(shares.owner_parts)
    )
