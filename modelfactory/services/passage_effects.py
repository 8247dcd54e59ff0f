"""Ask what each passage an answer read did to it. Attribution worker only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelfactory.attribution.passage_effects import PassageEffects
from modelfactory.models import Model
from modelfactory.services.attribute_answer import asked


def measure_passages(
    model: Model,
    adapter_digest: str,
    *,
    messages: Sequence[Mapping[str, str]],
    passages: Sequence[str],
    response_ids: Sequence[int],
    served_prompt_ids: Sequence[int] | None = None,
) -> PassageEffects:
    """Effects of `passages`, in the order they were read, on the answer `response_ids`.

    Give `served_prompt_ids` when these are all the passages that were read: they are then checked
    to render to the same prompt. Raises as `attribute_answer` does.
    """
    request = {
        "messages": [dict(message) for message in messages],
        "passages": list(passages),
        "response_ids": list(response_ids),
        "prompt_ids": None if served_prompt_ids is None else list(served_prompt_ids),
    }
    found: PassageEffects = asked(
        model, adapter_digest, lambda worker, named: worker.passage_effects(named | request)
    )
    return found
