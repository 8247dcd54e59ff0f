"""Greedy answers and exact match: the base and the tuned model against what was expected."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel

from modelfactory.training.chat import decode_answer, end_ids, messages_for, prompt_ids
from modelfactory.training.recipe import Example


@dataclass(frozen=True)
class Evaluation:
    """One evaluated question. `retrieved` says whether passages stood in the system turn."""

    record_id: str
    question: str
    expected: str
    base_answer: str
    tuned_answer: str
    retrieved: bool

    @property
    def base_correct(self) -> bool:
        """Whether the base answered as expected."""
        return exact_match(self.expected, self.base_answer)

    @property
    def tuned_correct(self) -> bool:
        """Whether the tuned model answered as expected."""
        return exact_match(self.expected, self.tuned_answer)

    def as_dict(self) -> dict[str, str | bool]:
        """Fields and verdicts, for a JSON line."""
        return {
            **dataclasses.asdict(self),
            "base_correct": self.base_correct,
            "tuned_correct": self.tuned_correct,
        }


def exact_match(expected: str, answer: str) -> bool:
    """Equality that forgives case, spacing and punctuation at the end."""
    return _normalised(expected) == _normalised(answer)


@torch.no_grad()
def answers(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Sequence[Mapping[str, str]]],
    max_new_tokens: int = 48,
    batch_size: int = 32,
) -> list[str]:
    """The greedy answer to each conversation, in order."""
    prompts = [prompt_ids(tokenizer, messages) for messages in conversations]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found = [""] * len(prompts)
    model.eval()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        longest = max(len(prompts[index]) for index in chosen)
        ids = torch.full((len(chosen), longest), tokenizer.pad_token_id)
        mask = torch.zeros(len(chosen), longest, dtype=torch.long)
        for row, index in enumerate(
            chosen
        ):  # left padding: all prompts end where the answers begin
            ids[row, longest - len(prompts[index]) :] = torch.tensor(prompts[index])
            mask[row, longest - len(prompts[index]) :] = 1
        generated = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            use_cache=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=list(end_ids(tokenizer)) or None,
        )
        for row, index in enumerate(chosen):
            found[index] = decode_answer(tokenizer, generated[row, longest:].tolist())
    return found


def evaluate(model: PeftModel, tokenizer: Any, rows: Sequence[Example]) -> list[Evaluation]:
    """Ask each row's prompt of the tuned model and, with the adapter switched off, of its base.

    A row with a `context` is asked with those passages in the system turn.
    """
    conversations = [messages_for(row.prompt, row.passages) for row in rows]
    longest = max((len(tokenizer(row.response)["input_ids"]) for row in rows), default=0) + 8
    tuned = answers(model, tokenizer, conversations, max_new_tokens=longest)
    with model.disable_adapter():
        base = answers(model, tokenizer, conversations, max_new_tokens=longest)
    return [
        Evaluation(row.record_id, row.prompt, row.response, before, after, bool(row.passages))
        for row, before, after in zip(rows, base, tuned, strict=True)
    ]


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".,;:!? ")
