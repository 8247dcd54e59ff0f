"""What people and programs may ask, checked before anything is reserved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms

from marketplace.models import SpendingCap
from marketplace.services import Sampling
from marketplace.services.raise_dispute import RECORDS_MAX
from marketplace.services.reserve_answer import MAX_TOKENS_DEFAULT, MAX_TOKENS_LIMIT
from openledger_site.core.errors import DomainError
from openledger_site.core.form_fields import OpenField
from openledger_site.core.money import exact_open
from rewards.models import RefundRequest

ROLES = ("system", "developer", "user", "assistant")
KNOWN = {
    "model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed",
    "stop", "stream", "stream_options", "n", "user", "store", "metadata",
}  # fmt: skip


class ChatForm(forms.Form):
    prompt = forms.CharField(
        max_length=4000,
        label="Your question",
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "Ask a question…"}),
    )
    # What the page said that an agent's maker asks on top; it may have changed since.
    maker_ppm = forms.IntegerField(required=False, widget=forms.HiddenInput)


class SpendingCapForm(forms.Form):
    """What may be spent; an empty field sets no limit."""

    day = OpenField(required=False, label="A day", help_text="In OPEN; empty for no limit.")
    month = OpenField(required=False, label="A month", help_text="In OPEN; empty for no limit.")
    alert_percent = forms.IntegerField(
        min_value=1,
        max_value=100,
        initial=80,
        label="Tell me at (percent of the month's cap)",
        help_text="By mail, once a month.",
    )

    @classmethod
    def of(cls, cap: SpendingCap | None, prefix: str | None = None) -> SpendingCapForm:
        """Filled with what holds now."""
        if cap is None:
            return cls(prefix=prefix)
        shown: dict[str, Any] = {"alert_percent": cap.alert_percent}
        for name, wei in (("day", cap.day_wei), ("month", cap.month_wei)):
            shown[name] = None if wei is None else exact_open(wei)
        return cls(initial=shown, prefix=prefix)

    @property
    def sets_limit(self) -> bool:
        return any(self.initial.get(name) is not None for name in ("day", "month"))

    def as_arguments(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "day_wei": data["day"],
            "month_wei": data["month"],
            "alert_percent": data["alert_percent"],
        }


class DisputeForm(forms.Form):
    """Which of their own rows a contributor doubts the score of, and why."""

    records = forms.MultipleChoiceField(
        required=False, label="Rows in question", widget=forms.CheckboxSelectMultiple
    )
    unlisted = forms.CharField(
        required=False,
        max_length=1000,
        label="Other rows of yours",
        help_text="Only for rows that stand above nowhere. Their ids, one a line: each row's page "
        "shows its id.",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
    )
    reason = forms.CharField(
        max_length=2000,
        label="What seems wrong",
        help_text="The staff and the model's owner read this.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, listed: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["records"]
        assert isinstance(field, forms.MultipleChoiceField)  # noqa: S101 # declared above
        field.choices = list(listed)
        if not listed:
            del self.fields["records"]

    def clean_unlisted(self) -> list[str]:
        words = self.cleaned_data["unlisted"].split()
        try:
            return [str(UUID(word)) for word in words]
        except ValueError:
            raise forms.ValidationError("An id looks like 3f2a1b4c-… with 36 characters.") from None

    def clean(self) -> dict[str, Any]:
        super().clean()
        chosen = {*self.cleaned_data.get("records", []), *self.cleaned_data.get("unlisted", [])}
        if not self.errors and not 1 <= len(chosen) <= RECORDS_MAX:
            raise forms.ValidationError(f"Choose 1 to {RECORDS_MAX} rows.")
        return {"records": sorted(chosen), "reason": self.cleaned_data.get("reason", "")}


class RefundForm(forms.Form):
    """Why somebody wants the fee of an answer back."""

    reason = forms.ChoiceField(
        choices=RefundRequest.Reason.choices,
        label="What is wrong with the answer",
        widget=forms.RadioSelect,
    )
    words = forms.CharField(
        required=False,
        max_length=1000,
        label="In your words",
        help_text="The staff reads this, and not your question or the answer: quote what matters.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class RefundDecisionForm(forms.Form):
    """What the staff decides, and why."""

    decision = forms.ChoiceField(
        choices=[("grant", "Give the whole fee back"), ("refuse", "Refuse")],
        label="Decision",
        widget=forms.RadioSelect,
    )
    words = forms.CharField(
        max_length=1000,
        label="Why",
        help_text="The payer reads this.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def as_arguments(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {"grant": data["decision"] == "grant", "words": data["words"]}


class RequestInvalid(DomainError):
    status = 400
    code = "invalid_request_error"


@dataclass(frozen=True)
class ChatRequest:
    """A checked body of POST /v1/chat/completions."""

    model: str
    messages: list[dict[str, str]]
    sampling: Sampling
    stream: bool
    include_usage: bool


def parse_chat_request(content: bytes) -> ChatRequest:
    """Read and check a request body. Unknown parameters are refused by name, not ignored."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise RequestInvalid("The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise RequestInvalid("The body must be a JSON object.")
    for name in sorted(body.keys() - KNOWN):
        raise RequestInvalid(f"The parameter {name} is not supported.", where=name[:60])
    if body.get("n") not in (None, 1):
        raise RequestInvalid("Only n=1 is supported.", where="n")
    options = _typed(body, "stream_options", dict, {})
    return ChatRequest(
        model=_storable(_typed(body, "model", str, None), "model"),
        messages=_messages(body.get("messages")),
        sampling=_sampling(body),
        stream=_typed(body, "stream", bool, False),
        include_usage=options.get("include_usage") is True,
    )


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not 1 <= len(value) <= 200:
        raise RequestInvalid("Send 1 to 200 messages.", where="messages")
    checked = []
    for place, message in enumerate(value):
        where = f"messages[{place}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise RequestInvalid(f"A role is one of {', '.join(ROLES)}.", where=f"{where}.role")
        role = "system" if message["role"] == "developer" else message["role"]
        checked.append({"role": role, "content": _text(message.get("content"), where)})
    return checked


def _text(content: Any, where: str) -> str:
    """A string, or OpenAI's list of text parts."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            content = "".join(texts)
    if not isinstance(content, str):
        raise RequestInvalid("The content must be text.", where=f"{where}.content")
    return _storable(content, f"{where}.content")


def _storable(text: str, where: str) -> str:
    """Text that PostgreSQL holds: JSON can also write NUL and half a surrogate pair."""
    if "\x00" in text:
        raise RequestInvalid("The text has a NUL character.", where=where)
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise RequestInvalid("The text has half a surrogate pair.", where=where)
    return text


def _sampling(body: dict[str, Any]) -> Sampling:
    max_name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    stop = body.get("stop") or []
    stop = [stop] if isinstance(stop, str) else stop
    if (
        not isinstance(stop, list)
        or len(stop) > 4
        or not all(isinstance(text, str) and 0 < len(text) <= 200 for text in stop)
    ):
        raise RequestInvalid("Send up to four stop texts.", where="stop", limit=4)
    return Sampling(
        max_tokens=_within(body, max_name, int, MAX_TOKENS_DEFAULT, 1, MAX_TOKENS_LIMIT),
        temperature=_within(body, "temperature", float, 0.0, 0, 2),
        top_p=_within(body, "top_p", float, 1.0, 0.01, 1),
        seed=_within(body, "seed", int, None, -(2**63), 2**63 - 1),
        stop=tuple(_storable(text, "stop") for text in stop),
    )


def _typed(body: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind):
        raise RequestInvalid(f"{name} must be a {kind.__name__}.", where=name)
    return value


def _within(
    body: dict[str, Any], name: str, kind: type, default: Any, low: float, high: float
) -> Any:
    value = body.get(name)
    if value is None:
        return default
    number = isinstance(value, (int, float) if kind is float else int)
    if not number or isinstance(value, bool) or not low <= value <= high:
        raise RequestInvalid(
            f"{name} is a number from {low} to {high}.", where=name, limit=str(high)
        )
    return kind(value)
