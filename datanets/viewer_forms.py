"""The forms of the viewer and of the card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms

from datanets.checks import RULES
from datanets.completeness import CARD_QUESTIONS
from datanets.facets import LENGTH_EDGES, value_label
from datanets.licences import licence_choices
from datanets.models import DatanetCard, Record
from datanets.selectors import SORTS, RowFilter


class RowFilterForm(forms.Form):
    """The viewer's filter, from its address; an unknown value filters nothing out."""

    search = forms.CharField(required=False, max_length=200, label="Words")
    sort = forms.ChoiceField(required=False, choices=list(SORTS.items()), label="Order")
    length = forms.ChoiceField(
        required=False,
        choices=[(str(at), value_label("length", str(at))) for at in range(len(LENGTH_EDGES) + 1)],
        widget=forms.HiddenInput,
    )
    kind = forms.ChoiceField(required=False, choices=Record.Kind.choices, widget=forms.HiddenInput)
    language = forms.RegexField(r"^(?:[a-z]{2,3}|none)$", required=False, widget=forms.HiddenInput)
    licence = forms.ChoiceField(required=False, choices=licence_choices, widget=forms.HiddenInput)
    label = forms.ChoiceField(
        required=False,
        choices=[("none", "No label"), *((code, rule.title) for code, rule in RULES.items())],
        widget=forms.HiddenInput,
    )
    contributor = forms.UUIDField(required=False, widget=forms.HiddenInput)
    after = forms.UUIDField(required=False, widget=forms.HiddenInput)
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def as_filter(self, *, labels: Callable[[str], bool]) -> RowFilter:
        """`labels` says which labels this person may ask for; another one is ignored."""
        self.is_valid()
        names = set(RowFilter.__slots__)
        values = {name: value for name, value in self.cleaned_data.items() if name in names}
        if values.get("label") and not labels(values["label"]):
            values["label"] = ""
        return RowFilter(**values)

    def cursors(self) -> dict[str, Any]:
        return {name: self.cleaned_data.get(name) for name in ("after", "before")}


class CardForm(forms.ModelForm[DatanetCard]):
    """The questions of a card. All may stay open: the page says what is missing."""

    guidelines = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 6}),
        help_text="What a good row looks like. Contributors and reviewers see it beside each row.",
    )

    class Meta:
        model = DatanetCard
        fields = [name for name, _, _ in CARD_QUESTIONS]
        labels = {name: title for name, title, _ in CARD_QUESTIONS}
        help_texts = {name: explanation for name, _, explanation in CARD_QUESTIONS}
        widgets = {
            name: forms.Textarea(attrs={"rows": 4})
            for name, _, _ in CARD_QUESTIONS
            if name not in ("languages", "contact")
        }
