"""What the owner of an agent decides; each choice is one that the site can keep."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import slugify

from marketplace.agent_models import INSTRUCTIONS_MAX
from marketplace.agent_words import ROWS_CHOICES
from marketplace.maker_part import MAKER_PPM_MAX, with_maker_part
from marketplace.models import Agent, AgentTakedown, AgentVersion
from marketplace.services import Answering
from marketplace.services.reserve_answer import MESSAGE_BYTES_MAX, highest_prompt
from modelfactory.models import Model
from modelfactory.services import price_wei
from openledger_site.core.form_fields import OpenField
from openledger_site.core.money import exact_open, format_open
from rewards.models.settlements import PARTS_PER_MILLION

PPM_PER_PERCENT = PARTS_PER_MILLION // 100
LENGTHS = {64: "Short", 256: "Medium", 1024: "Long"}
READ_TOKENS = 200
"""What a short question with rows looked up comes to, for the price preview."""


class AgentForm(forms.Form):
    """Over one model, whose prices stand in the choices."""

    name = forms.CharField(max_length=80, label="Name")
    slug = forms.SlugField(
        required=False,
        max_length=60,
        label="Address",
        help_text="Lower-case letters, digits and hyphens; left empty, it is made from the name."
        " It never changes. Programs call the agent agent/address.",
    )
    summary = forms.CharField(
        max_length=200, label="What it is for", help_text="One sentence, for the marketplace."
    )
    instructions = forms.CharField(
        required=False,
        max_length=INSTRUCTIONS_MAX,
        label="Instructions",
        widget=forms.Textarea(attrs={"rows": 6}),
    )
    shows_instructions = forms.BooleanField(
        required=False,
        label="Show my instructions",
        help_text="Otherwise only you see them, and an answer to others withholds eight of their"
        " words in a row. Write nothing secret all the same.",
    )
    rows = forms.ChoiceField(
        choices=list(ROWS_CHOICES.items()),
        initial=AgentVersion.Rows.LOOK_UP,
        label="Rows of its Datanet",
        widget=forms.RadioSelect,
    )
    length = forms.TypedChoiceField(
        coerce=int, initial=64, label="Length of an answer", widget=forms.RadioSelect
    )
    maker_percent = forms.DecimalField(
        required=False,
        min_value=0,
        max_value=MAKER_PPM_MAX // PPM_PER_PERCENT,
        decimal_places=2,
        initial=0,
        label="Your part, in per cent of the model's price",
        help_text="On top of it: whoever asks sees it before and pays it. What the model's"
        " contributors, builder and stakers get stays the same. From 0 to 100.",
    )
    answer_cap = OpenField(
        required=False,
        label="One answer costs at most",
        help_text="In OPEN; empty for no limit. Answers are cut short to stay within it.",
    )
    caller_day = OpenField(
        required=False,
        label="One person spends a day at most",
        help_text="In OPEN, days in UTC; empty for no limit. An answer under way counts in full.",
    )
    visibility = forms.ChoiceField(
        choices=Agent.Visibility.choices,
        initial=Agent.Visibility.PUBLIC,
        label="Who may use it",
        widget=forms.RadioSelect,
    )
    opening = forms.CharField(
        required=False,
        max_length=300,
        label="Opening message",
        help_text="What its chat says first. It costs nothing.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, model: Model, agent: Agent | None = None, **kwargs: Any) -> None:
        self.model = model
        if agent is not None:
            kwargs["initial"] = _as_it_is(agent)
        super().__init__(*args, **kwargs)
        length = self.fields["length"]
        assert isinstance(length, forms.TypedChoiceField)  # noqa: S101 # declared above
        length.choices = [(n, self._length_words(n, word)) for n, word in LENGTHS.items()]
        self.fields["instructions"].help_text = (
            "Its base model reads these as facts to answer from; it was not trained to follow"
            " orders. For example: The museum opens at nine."
            if model.base.reads_instructions_as_facts
            else "Read before each question: what it is, how it answers, what it leaves out."
        )
        if agent is not None:
            del self.fields["slug"]

    def _length_words(self, tokens: int, word: str) -> str:
        price = format_open(price_wei(self.model, READ_TOKENS, tokens))
        return (
            f"{word}: up to {tokens:,} tokens, about {tokens * 7 // 10} words."
            f" Its model takes up to {price} OPEN when {READ_TOKENS} tokens are read."
        )

    def clean_slug(self) -> str:
        slug = self.cleaned_data["slug"] or slugify(self.cleaned_data.get("name", ""))[:60]
        if len(slug) < 3:
            raise ValidationError("Write an address of at least three letters or digits.")
        return str(slug)

    def clean_maker_percent(self) -> int:
        """In parts per million."""
        return int((self.cleaned_data["maker_percent"] or 0) * PPM_PER_PERCENT)

    def clean_answer_cap(self) -> int | None:
        cap: int | None = self.cleaned_data["answer_cap"]
        least = max(1, self._most_paid(1))
        if cap is not None and cap < least:
            raise ValidationError(
                f"Reading a long question and its rows can cost {exact_open(least)} OPEN with one"
                " token written. Allow at least that."
            )
        return cap

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        day, cap = data.get("caller_day"), data.get("answer_cap")
        if day is not None and "length" in data:
            most = self._most_paid(data["length"])
            most = max(1, most if cap is None else min(cap, most))
            if day < most:
                self.add_error(
                    "caller_day",
                    f"One answer can cost {exact_open(most)} OPEN. Allow at least that a day.",
                )
        return data

    def _most_paid(self, tokens: int) -> int:
        """Wei for `tokens` written after the longest question, with instructions and rows, as far
        as the base reads; the part on top included.
        """
        longest = "x" * (MESSAGE_BYTES_MAX + INSTRUCTIONS_MAX)
        prompt = highest_prompt(self.model, [{"role": "user", "content": longest}])
        return with_maker_part(
            price_wei(self.model, prompt, tokens), self.cleaned_data.get("maker_percent", 0)
        )

    def as_arguments(self) -> dict[str, Any]:
        """As `make_agent` takes them; `change_agent` without the address."""
        data = self.cleaned_data
        names = ("name", "slug", "summary", "opening", "visibility", "shows_instructions")
        return {name: data[name] for name in names if name in self.fields} | {
            "answer_cap_wei": data["answer_cap"],
            "caller_day_wei": data["caller_day"],
            "answering": Answering(
                data["instructions"], data["rows"], data["length"], data["maker_percent"]
            ),
        }


def _as_it_is(agent: Agent) -> dict[str, Any]:
    version = agent.newest
    caps = {"answer_cap": agent.answer_cap_wei, "caller_day": agent.caller_day_wei}
    return {
        "name": agent.name,
        "summary": agent.summary,
        "opening": agent.opening,
        "visibility": agent.visibility,
        "shows_instructions": agent.shows_instructions,
        "instructions": version.instructions,
        "rows": version.rows,
        "length": version.max_tokens,
        "maker_percent": version.maker_percent,
        **{name: None if wei is None else exact_open(wei) for name, wei in caps.items()},
    }


class TakedownForm(forms.Form):
    """Why the staff takes an agent down."""

    reason = forms.ChoiceField(
        choices=[("", "Choose a reason"), *AgentTakedown.Reason.choices],
        help_text="Shown to everybody.",
    )
    words = forms.CharField(
        max_length=500,
        required=False,
        label="To its maker",
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class TakedownAppealForm(forms.Form):
    words = forms.CharField(
        min_length=20,
        max_length=2_000,
        label="Why it should come back",
        help_text="The staff reads it and answers once.",
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class TakedownAnswerForm(forms.Form):
    decision = forms.ChoiceField(
        choices=[("back", "Bring it back"), ("stay", "It stays down")], widget=forms.RadioSelect
    )
    words = forms.CharField(
        max_length=500,
        required=False,
        label="To its maker",
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def as_arguments(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {"back": data["decision"] == "back", "words": data["words"]}
