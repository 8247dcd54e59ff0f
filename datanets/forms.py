"""What people fill in. Field names are part of the site's contract with scripts: they stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from django import forms
from django.utils import timezone

from datanets.checks import PERSONAL_DATA_KINDS, RULES
from datanets.licences import AGREEMENT, licence_choices
from datanets.models import (
    AccessGrant,
    Datanet,
    Membership,
    PersonalDatum,
    Review,
)
from datanets.parsing.shapes import SYNONYMS
from datanets.provenance_forms import ProvenanceForm

PASTE_CHARACTERS_MAX = 1_000_000


def named_flags(report: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Code, title and number of rows of each flag in a contribution's report."""
    counts = report.get("checks", {}).get("flags", {})
    return [(code, RULES[code].title, count) for code, count in counts.items() if code in RULES]


class DatanetForm(forms.ModelForm[Datanet]):
    left_out_rules = forms.MultipleChoiceField(
        required=False,
        label="Leave out rows with",
        choices=[(code, rule.title) for code, rule in RULES.items() if code != "personal_data"],
        widget=forms.CheckboxSelectMultiple,
        initial=["malware"],
        help_text="All other rules only label a row for its reviewers. Contributors are told which"
        " row was left out, and why; for being like a row that they may not see, none is.",
    )

    class Meta:
        model = Datanet
        fields = ["name", "description", "guidelines", "visibility", "licence"]
        widgets = {
            "visibility": forms.RadioSelect,
            "description": forms.Textarea(attrs={"rows": 3}),
            "guidelines": forms.Textarea(attrs={"rows": 6}),
        }
        help_texts = {
            "name": "What it is about, in a few words.",
            "description": "What a model that learned from it could answer.",
            "visibility": "You cannot change this later yourself; the site's staff can.",
            "licence": "Offered first to contributors; each may choose another.",
        }


class ContributeForm(ProvenanceForm):
    """A file, at once or in parts, a pasted text, or one question with its answer: one of them."""

    # An empty file is refused by the sandbox, in its words.
    file = forms.FileField(required=False, allow_empty_file=True)
    # A file that came in parts (`datanets.api_uploads`), and what its sender says it hashes to.
    upload = forms.UUIDField(required=False, widget=forms.HiddenInput)
    upload_digest = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    paste = forms.CharField(
        required=False,
        max_length=PASTE_CHARACTERS_MAX,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
        label="Paste rows",
        help_text="CSV with a header, JSON Lines, a JSON list, or plain text.",
    )
    question = forms.CharField(required=False, max_length=20_000, widget=forms.Textarea)
    answer = forms.CharField(required=False, max_length=20_000, widget=forms.Textarea)
    title = forms.CharField(required=False, max_length=120, help_text="How you will find it again.")
    # Sent by the second button: see what the checks say before anybody else sees a row.
    look_first = forms.BooleanField(required=False, widget=forms.HiddenInput)
    licence = forms.ChoiceField(
        choices=licence_choices, help_text="The terms under which you give these rows."
    )
    agree = forms.BooleanField(
        label="I accept the contributor agreement",
        help_text=AGREEMENT,
        error_messages={"required": "Accept the agreement to go on."},
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        row = bool(data.get("question") or data.get("answer"))
        file = data.get("file") is not None or bool(data.get("upload"))
        given = [file, bool((data.get("paste") or "").strip()), row]
        if sum(given) != 1 and "file" not in self.errors:
            message = "Give one thing: a file, pasted rows, or one question with its answer."
            self.add_error("file" if not sum(given) else None, message)
        for name, other in (("question", "answer"), ("answer", "question")):
            if row and not data.get(name) and name not in self.errors:
                self.add_error(name, f"The {other} needs its {name}.")
        return data


class MappingForm(forms.Form):
    """One choice of column for each role that a row can have."""

    ROLES = {
        "instruction": "Question",
        "response": "Answer",
        "context": "Context",
        "chosen": "Preferred answer",
        "rejected": "Worse answer",
        "messages": "Conversation",
        "text": "Plain text",
        "wordings": "Other wordings",
    }

    def __init__(self, *args: Any, columns: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", "—"), *((column, column[:80]) for column in columns[:500])]
        for role in SYNONYMS:
            self.fields[role] = forms.ChoiceField(
                choices=choices, required=False, label=self.ROLES[role]
            )

    def mapping(self) -> dict[str, str]:
        return {role: column for role, column in self.cleaned_data.items() if column}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        chosen = [column for column in data.values() if column]
        if not chosen:
            raise forms.ValidationError("Choose at least the question and the answer, or the text.")
        if len(chosen) != len(set(chosen)):
            raise forms.ValidationError("A column can play one role only.")
        return data


class DecisionForm(forms.Form):
    """What becomes of personal data: a choice for each kind, and for each place that differs."""

    KIND_CHOICES = [("", "Choose"), *PersonalDatum.Choice.choices]
    PLACE_CHOICES = [("", "As chosen for its kind"), *PersonalDatum.Choice.choices]

    def __init__(
        self, *args: Any, kinds: Mapping[str, int], places: Sequence[PersonalDatum], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.kinds, self.places = kinds, places
        for kind, count in kinds.items():
            self._add(f"kind-{kind}", f"{PERSONAL_DATA_KINDS[kind]} ({count:,})", self.KIND_CHOICES)
        for place in places:
            self._add(f"place-{place.pk}", f"Row {place.row}", self.PLACE_CHOICES)

    def _add(self, name: str, label: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name] = forms.ChoiceField(choices=choices, required=False, label=label)
        self.fields[f"{name}-reason"] = forms.CharField(
            required=False, max_length=200, label="Why keep it?"
        )

    @property
    def has_more(self) -> bool:
        """Places beyond those that are shown: they follow the choice for their kind."""
        return sum(self.kinds.values()) > len(self.places)

    def kind_fields(self) -> Iterator[tuple[forms.BoundField, forms.BoundField]]:
        for kind in self.kinds:
            yield self[f"kind-{kind}"], self[f"kind-{kind}-reason"]

    def place_fields(self) -> Iterator[tuple[PersonalDatum, forms.BoundField, forms.BoundField]]:
        for place in self.places:
            yield place, self[f"place-{place.pk}"], self[f"place-{place.pk}-reason"]

    def chosen(self, prefix: str) -> dict[str, tuple[str, str]]:
        """Action and reason by kind or by the place's key; what was left open is not in it."""
        data = self.cleaned_data
        names = [name for name in data if name.startswith(prefix) and not name.endswith("-reason")]
        return {
            name.removeprefix(prefix): (data[name], data[f"{name}-reason"])
            for name in names
            if data[name]
        }


class ReviewForm(forms.Form):
    verdict = forms.ChoiceField(
        choices=[("approve", "Approve"), ("reject", "Reject"), ("flag", "Leave to a curator")]
    )
    reason = forms.ChoiceField(
        choices=[("", "Choose a reason"), *Review.Reason.choices], required=False
    )
    note = forms.CharField(max_length=500, required=False)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("verdict") == "reject" and not data.get("reason"):
            self.add_error("reason", "Choose a reason to reject.")
        if data.get("verdict") == "flag" and not (data.get("note") or "").strip():
            self.add_error("note", "Write what the curator should look at.")
        return data


class ReviewRulesForm(forms.ModelForm[Datanet]):
    """How many votes decide, test rows, and how much newcomers may send."""

    class Meta:
        model = Datanet
        fields = ["votes_per_row", "gold_every", "newcomer_rows_a_day"]
        labels = {
            "votes_per_row": "Votes a row",
            "gold_every": "A test row after",
            "newcomer_rows_a_day": "Rows a day from newcomers",
        }


class GoldForm(forms.Form):
    explanation = forms.CharField(
        max_length=500,
        label="What reviewers learn from it",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Shown right after they answered.",
    )


class DoubtForm(forms.Form):
    note = forms.CharField(
        max_length=300,
        label="What is wrong with it",
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="The Datanet's curators read it, with your name.",
    )


class SecondLookForm(forms.Form):
    decision = forms.ChoiceField(choices=[("keep", "Keep it"), ("take_out", "Take it out")])
    reason = forms.ChoiceField(choices=[("", "Why?"), *Review.Reason.choices], required=False)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("decision") == "take_out" and not data.get("reason"):
            self.add_error("reason", "Choose why it is taken out.")
        return data


class AppealForm(forms.Form):
    text = forms.CharField(
        max_length=1_000,
        label="Why it should be kept",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="A curator reads it and decides. Once a row.",
    )


class QueueFilterForm(forms.Form):
    """The filter of the review queue; an unknown value filters nothing out."""

    flag = forms.ChoiceField(
        required=False,
        label="Label",
        choices=[
            ("", "Every row"),
            ("none", "Without a label"),
            ("curator", "Left to a curator"),
            *((code, rule.title) for code, rule in RULES.items()),
        ],
    )
    contribution = forms.UUIDField(required=False, widget=forms.HiddenInput)
    search = forms.CharField(required=False, max_length=200, label="Words")

    def show_counts(self, counts: Mapping[str, int] | None) -> None:
        """Offer only the flags that rows carry, with how many; the chosen one stays.

        All of them, where the rows are too many to be counted.
        """
        if counts is None:
            return
        chosen = self["flag"].value()
        self.fields["flag"].widget.choices = [
            (code, f"{label} ({counts[code]:,})" if code in counts else label)
            for code, label in self.fields["flag"].choices  # type: ignore[attr-defined] # as above
            if code in ("", "none", "curator", chosen) or code in counts
        ]

    def filters(self) -> dict[str, Any]:
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}


class VersionForm(forms.Form):
    note = forms.CharField(required=False, max_length=500, help_text="What changed, for readers.")
    held_out_percent = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=50,
        label="Hold out whole prompts (percent)",
        help_text="Usually 0: every fact is trained, and asked again in wordings never trained.",
    )

    def clean_held_out_percent(self) -> int:
        return self.cleaned_data["held_out_percent"] or 0


ROLES = [choice for choice in Membership.Role.choices if choice[0] != Membership.Role.OWNER]


class MemberForm(forms.Form):
    email = forms.EmailField(help_text="Of an account that exists.")
    role = forms.ChoiceField(choices=ROLES, initial=Membership.Role.CONTRIBUTOR)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=ROLES)


class MemberChoiceField(forms.ModelChoiceField[Membership]):
    """Members by name."""

    def label_from_instance(self, obj: Membership) -> str:
        return obj.user.name


class TransferForm(forms.Form):
    """Giving a Datanet away is confirmed by writing its name."""

    member = MemberChoiceField(Membership.objects.none(), label="New owner")
    confirm = forms.CharField(
        label="Its name", max_length=80, help_text="Write the Datanet's name to confirm."
    )

    def __init__(self, *args: Any, datanet: Datanet, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = datanet.name
        members = datanet.memberships.exclude(role=Membership.Role.OWNER).select_related("user")
        cast(MemberChoiceField, self.fields["member"]).queryset = members

    def clean_confirm(self) -> str:
        if self.cleaned_data["confirm"].strip() != self.name:
            raise forms.ValidationError("This is not its name.")
        return self.name


class AccessRequestForm(forms.Form):
    """A right, what for, for how long, and the owner's questions where there are any."""

    TERMS = [(30, "30 days"), (90, "90 days"), (365, "A year"), (1_095, "3 years")]

    right = forms.ChoiceField(
        choices=AccessGrant.Right.choices, widget=forms.RadioSelect, label="What you need"
    )
    purpose = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="The owner and the curators read this.",
    )
    term_days = forms.TypedChoiceField(choices=TERMS, coerce=int, initial=90, label="For how long")

    def __init__(self, *args: Any, questions: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.questions = list(questions)
        for number, question in enumerate(self.questions):
            self.fields[f"question_{number}"] = forms.CharField(label=question, max_length=1_000)

    def as_arguments(self) -> dict[str, Any]:
        data = self.cleaned_data
        answers = [
            {"question": question, "answer": data[f"question_{number}"]}
            for number, question in enumerate(self.questions)
        ]
        return {name: data[name] for name in ("right", "purpose", "term_days")} | {
            "answers": answers
        }


class GrantDecisionForm(forms.Form):
    decision = forms.ChoiceField(
        choices=[("grant", "Grant"), ("refuse", "Refuse"), ("revoke", "Revoke")]
    )
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    answer = forms.CharField(required=False, max_length=500, label="Reason")

    @property
    def days(self) -> int | None:
        """From today to the day chosen; None where none was."""
        until = self.cleaned_data["until"]
        return None if until is None else (until - timezone.now().date()).days


class AccessQuestionsForm(forms.ModelForm[Datanet]):
    """What people who ask for access are asked."""

    class Meta:
        model = Datanet
        fields = ["access_questions"]
        labels = {"access_questions": "Questions"}
        widgets = {"access_questions": forms.Textarea(attrs={"rows": 4})}
