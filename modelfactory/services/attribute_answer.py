"""Ask which rows moved an answer, and turn their scores into shares. Attribution worker only.

The class that needs torch is reached by its dotted path in `settings.ATTRIBUTOR`, so that the
processes which merely import this package never load it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from datanets.models import Record
from modelfactory.attribution.record import Attribution
from modelfactory.attribution.shares import compute_shares
from modelfactory.models import Model
from modelfactory.selectors import index_of
from modelfactory.services.base_models import base_source
from openledger_site.core.errors import Unavailable

BASES_LOADED = 1  # a base can take most of a worker's memory


class IndexNotReady(Unavailable):
    code = "attribution_index_not_ready"
    message = "The index that credits this model's rows is still being built."


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
    messages: Sequence[Mapping[str, str]],
    response_ids: Sequence[int],
    question: str | None = None,
) -> AttributedAnswer:
    """Attribute the answer `response_ids` to `messages`; BM25 stands beside it for `question`.

    `messages` are the person's own, without retrieved passages: what was read is a fact of its own
    on the receipt, and influence is about what was learnt (docs/decisions/0011).

    Raises `IndexNotReady` while the index of the model's adapter is not there.
    """
    attributor = attributor_of(model)
    request = {
        "adapter_digest": model.adapter_digest,
        "messages": [dict(message) for message in messages],
        "response_ids": list(response_ids),
        "question": question,
    }
    return share_out(attributor.attribute(request))


def attributor_of(model: Model) -> Any:
    """The `AttributionWorker` for the base of `model`. Raises `IndexNotReady`, see above."""
    index = index_of(model.adapter_digest)
    if index is None or index.ready_at is None:
        raise IndexNotReady()
    folders = (str(settings.ADAPTERS_DIR), str(settings.ATTRIBUTION_DIR))
    return _attributor(base_source(model.base), *folders)


@lru_cache(maxsize=BASES_LOADED)
def _attributor(base: str, adapters: str, indexes: str) -> Any:
    """The base with its adapters and indexes, kept loaded between jobs."""
    return import_string(settings.ATTRIBUTOR)(base, Path(adapters), Path(indexes))


def load_attributor() -> None:
    """Import what the first answer of this worker would wait for: its libraries take seconds."""
    import_string(settings.ATTRIBUTOR)


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
