"""Leave one passage out: an answer's log-probability with and without each passage it read.

The prompts are rendered as the engine renders them, and the answer's tokens are forced. This is the
exact leave-one-out that ContextCite (Cohen-Wang et al. 2024) approximates for many sources; three
passages cost five rows of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from modelfactory.attribution.calibration import MICRO
from modelfactory.attribution.gradients import TokenExample, log_probabilities
from modelfactory.attribution.passage_effects import PassageEffects
from modelfactory.training.chat import prompt_ids, with_passages

BATCH_TOKENS = 4096
"""Tokens of one forward pass, padding included: it bounds the memory of the logits."""


class PromptDiffersError(ValueError):
    """The prompt with all passages is not the one that was served."""


def passage_effects(
    model: nn.Module,
    tokenizer: Any,
    messages: Sequence[Mapping[str, str]],
    passages: Sequence[str],
    response_ids: Sequence[int],
    served_prompt_ids: Sequence[int] | None = None,
) -> PassageEffects:
    """Effects of ``passages`` (best first, as they were read) under the active adapter.

    ``messages`` are the person's own. Give ``served_prompt_ids`` when ``passages`` are all that
    were read: raises ``PromptDiffersError`` when they would not render to the same prompt.
    """
    without_each = [[*passages[:at], *passages[at + 1 :]] for at in range(len(passages))]
    prompts = [
        prompt_ids(tokenizer, with_passages(messages, shown))
        for shown in (list(passages), *without_each, [])
    ]
    if served_prompt_ids is not None and prompts[0] != list(served_prompt_ids):
        raise PromptDiffersError("the passages do not render to the prompt that was served")
    answer = tuple(response_ids)
    examples = [TokenExample(tuple(ids), answer) for ids in prompts]
    longest = max(len(ids) for ids in prompts) + len(answer)
    found = log_probabilities(model, examples, max(1, BATCH_TOKENS // longest))
    micro = [round(float(value) * MICRO) for value in found]
    return PassageEffects(micro[0], tuple(micro[1:-1]), micro[-1])
