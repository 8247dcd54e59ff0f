"""The questions about where rows come from. Field names are part of the contract with scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils import timezone

from datanets.models.provenance import Provenance
from datanets.provenance import NAMES, mistake_in

_ASKED = ("source", "method")
_FOLDED = (
    "origin", "made_from", "made_to", "intended_use", "other_rights", "consent",
    "consent_evidence", "privacy_means",
)  # fmt: skip


# The same choices as the contributor says them.
_SOURCES = [
    ("own", "Mine: I wrote or recorded them"),
    ("organisation", "My organisation's"),
    ("published", "Published by somebody else"),
    ("received", "Given or sold to me"),
]
_CONSENTS = [
    ("nobody", "No, nobody is described in them"),
    ("self", "Only I am, and I agree"),
    ("given", "Yes, and they agreed"),
    ("law", "Yes, on another legal ground than consent"),
]


def _day(label: str) -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(required=False, label=label, widget=widget)


def _choice(label: str, choices: list[tuple[str, str]], first: str, **extra: Any) -> Any:
    return forms.ChoiceField(required=False, label=label, choices=[("", first), *choices], **extra)


class ProvenanceForm(forms.Form):
    """Two questions that the page insists on, and more that it folds away.

    A program that knows nothing of the two leaves them out, and then they are not said; an answer
    that is there and empty is somebody who has not chosen yet.
    """

    source = _choice(
        "Whose are these rows?",
        _SOURCES,
        "Choose",
        error_messages={"required": "Say whose rows they are."},
    )
    source_name = forms.CharField(
        required=False,
        max_length=200,
        label="Where they come from",
        help_text="A publisher, a web address, a department. Not needed for your own rows.",
    )
    method = _choice(
        "How were they made?",
        Provenance.Method.choices,
        "Choose",
        error_messages={"required": "Say how the rows were made."},
    )
    made_by = forms.CharField(
        required=False,
        max_length=120,
        label="Which program or AI model made them",
        help_text="Needed for synthetic rows: its name and version.",
    )
    origin = forms.CharField(
        required=False,
        max_length=80,
        label="Country or region they come from",
        help_text="Shown to everybody who sees the Datanet, with the number of rows.",
    )
    made_from = _day("Made or recorded from")
    made_to = _day("Until")
    intended_use = forms.CharField(required=False, max_length=300, label="What they are meant for")
    other_rights = forms.CharField(
        required=False,
        max_length=300,
        label="Rights of others in them",
        help_text="Copyright, patents, trade marks, trade secrets, and who allowed this use.",
    )
    consent = _choice("Are people described in them?", _CONSENTS, "Not said")
    consent_evidence = forms.CharField(
        required=False,
        max_length=200,
        label="Where the consent or legal ground is written down",
        help_text="For example: signed forms, file 2026-14. Not the names.",
    )
    privacy_means = forms.CharField(
        required=False,
        max_length=200,
        label="What was done to protect people",
        help_text="For example: names removed, dates shifted, only totals kept.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in _ASKED:
            self.fields[name].required = not self.is_bound or name in self.data

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        mistake = mistake_in(data, timezone.now().date())
        if mistake and mistake[0] not in self.errors:
            self.add_error(*mistake)
        return data

    def provenance(self) -> dict[str, Any]:
        """The answers of a valid form, as `submit_contribution` takes them."""
        return provenance_in(self.cleaned_data)

    @property
    def more_is_wrong(self) -> bool:
        """Whether the folded part holds a mistake, so that it opens."""
        return any(name in self.errors for name in _FOLDED)

    def folded(self) -> list[forms.BoundField]:
        return [self[name] for name in _FOLDED]


def provenance_in(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in NAMES if name in data}
