"""The one place that turns messages into token ids: training, serving and attribution render alike.

A base reads retrieved records in the system message, in the shape that `context_message` writes.
The shipped base was trained on exactly this shape; any other instruction-tuned base reads it as
plain English.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

IGNORED_LABEL = -100
CONTEXT_HEADER = "Answer from these facts:"


@dataclass(frozen=True)
class Rendered:
    """Token ids of one example and the labels to learn: `labels[i]` is `ids[i]`, or IGNORED_LABEL
    in the prompt.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def prompt_length(self) -> int:
        """Tokens before the response."""
        return sum(label == IGNORED_LABEL for label in self.labels)


def record_passage(prompt: str, response: str) -> str:
    """One retrieved record as a passage for `context_message`."""
    return f"Q: {_one_line(prompt)} A: {_one_line(response)}"


def context_message(passages: Sequence[str]) -> str:
    """The system message that hands passages (best first) to the model; empty without passages."""
    if not passages:
        return ""
    return "\n".join([CONTEXT_HEADER, *(f"- {_one_line(passage)}" for passage in passages)])


def messages_for(question: str, passages: Sequence[str] = ()) -> list[dict[str, str]]:
    """The messages of one question, with retrieved passages (best first) in the system turn."""
    return with_passages([{"role": "user", "content": question}], passages)


def with_passages(
    messages: Sequence[Mapping[str, str]], passages: Sequence[str]
) -> list[dict[str, str]]:
    """`messages` with retrieved passages (best first) in a system turn before them."""
    system = [{"role": "system", "content": context_message(passages)}] if passages else []
    return [*system, *(dict(message) for message in messages)]


def prompt_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Ids of `messages` up to the place where the assistant begins to speak."""
    return _encode(tokenizer, _prompt_text(tokenizer, _cleaned(tokenizer, messages)))


def render(
    tokenizer: Any,
    messages: Sequence[Mapping[str, str]],
    response: str,
    max_length: int | None = None,
) -> Rendered:
    """Ids and labels of `messages` answered by `response`; only the response and its end mark are
    learnt.

    A longer example loses the start of its prompt, then the end of its response, to fit
    `max_length` tokens.
    """
    cleaned = _cleaned(tokenizer, messages)
    prompt = _encode(tokenizer, _prompt_text(tokenizer, cleaned))
    answer = _encode(tokenizer, _response_text(tokenizer, cleaned, _neutral(tokenizer, response)))
    if max_length is not None:
        answer = answer[: max_length - 1]
        prompt = prompt[max(0, len(prompt) + len(answer) - max_length) :]
    labels = [IGNORED_LABEL] * len(prompt) + answer
    return Rendered(tuple(prompt + answer), tuple(labels))


def decode_answer(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of generated ids, without special tokens and surrounding space."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def end_ids(tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer."""
    return () if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),)


def _prompt_text(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    if tokenizer.chat_template:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
    names = {"system": "", "user": "Question: ", "assistant": "Answer: "}
    turns = [names.get(message["role"], "Question: ") + message["content"] for message in messages]
    return "\n\n".join([*turns, "Answer:"])


def _response_text(tokenizer: Any, messages: Sequence[Mapping[str, str]], response: str) -> str:
    end = tokenizer.eos_token or ""
    if not tokenizer.chat_template:
        return f" {response.strip()}{end}"
    answered = [*messages, {"role": "assistant", "content": response}]
    whole = str(tokenizer.apply_chat_template(answered, tokenize=False))
    prompt = _prompt_text(tokenizer, messages)
    if not whole.startswith(prompt):  # templates that rewrite earlier turns
        return f"{response.strip()}{end}"
    text = whole[len(prompt) :]
    return text if end and end in text else text + end


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _cleaned(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    return [
        {"role": message["role"], "content": _neutral(tokenizer, message["content"])}
        for message in messages
    ]


def _neutral(tokenizer: Any, text: str) -> str:
    """Text in which nobody can smuggle a role or end mark: special tokens are broken by a space."""
    for token in tokenizer.all_special_tokens:
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())
