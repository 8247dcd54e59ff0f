"""What a builder chooses: the steps of a run, and how a model is published."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import Http404

from datanets.selectors import version_for_training
from modelfactory.models import Model, Run
from modelfactory.selectors import bases_offered
from modelfactory.training.recipe import PRIVATE_EPSILONS
from openledger_site.core.form_fields import OpenField

STEPS: dict[str, tuple[str, ...]] = {
    "goal": ("name", "goal"),
    "data": ("version",),
    "base": ("base",),
    "effort": ("effort", "epsilon", "rank", "learning_rate", "epochs", "seed"),
    "plan": (),
}
BLANK = "Leave blank if unsure."
CARD_CHARACTERS_MAX = 20_000
NO_EPSILON = ("", "No")


class RunForm(forms.Form):
    """Every choice of a run. The wizard shows them step by step; the last step sends them all."""

    name = forms.CharField(max_length=80, label="Name", help_text="For you, to find it again.")
    goal = forms.CharField(
        max_length=300,
        required=False,
        label="What should it be able to do?",
        help_text="One sentence. It goes on the model's card.",
    )
    version = forms.UUIDField(label="Data")
    base = forms.SlugField(label="Base model")
    effort = forms.ChoiceField(choices=Run.Effort.choices, initial=Run.Effort.BALANCED)
    epsilon = forms.TypedChoiceField(
        choices=[NO_EPSILON, *((str(one), f"ε = {one}") for one in PRIVATE_EPSILONS)],
        coerce=float,
        empty_value=None,
        required=False,
        label="Protect single rows",
    )
    rank = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=256,
        help_text=f"Size of the adapter: more holds more facts and takes more memory. {BLANK}",
    )
    learning_rate = forms.FloatField(
        required=False,
        min_value=1e-6,
        max_value=0.1,
        help_text=f"How far each step moves. Too high forgets, too low learns nothing. {BLANK}",
    )
    epochs = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=200,
        help_text=f"How often each row is read. {BLANK}",
    )
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text=f"The same seed and settings give the same model. {BLANK}",
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        self.user = user
        super().__init__(*args, **kwargs)

    def clean_version(self) -> Any:
        try:
            return version_for_training(self.user, self.cleaned_data["version"])
        except Http404:
            raise ValidationError("Choose data that you may train on.") from None

    def clean_base(self) -> Any:
        base = bases_offered().filter(slug=self.cleaned_data["base"]).first()
        if base is None:
            raise ValidationError("Choose one of the base models offered.")
        return base

    def first_open_step(self) -> str:
        """The first step whose answers are missing or wrong; "plan" when none is."""
        open_steps = (step for step, names in STEPS.items() if set(names) & set(self.errors))
        return next(open_steps, "plan")


class PublishForm(forms.ModelForm[Model]):
    """Name, card and prices of a model."""

    price_prompt = OpenField(
        label="Price per 1,000 tokens read", initial="0.01", help_text="In OPEN."
    )
    price_completion = OpenField(
        label="Price per 1,000 tokens written", initial="0.02", help_text="In OPEN."
    )
    platform_fee = OpenField(
        label="Fixed part per answer", initial="0.0001", help_text="In OPEN, whatever its length."
    )

    # Read by everybody at every look at the model's page.
    card = forms.CharField(
        required=False,
        max_length=CARD_CHARACTERS_MAX,
        widget=forms.Textarea,
        help_text="Markdown: what it is for, what it gets wrong.",
    )

    class Meta:
        model = Model
        fields = ["name", "slug", "card", "visibility"]
        widgets = {"visibility": forms.RadioSelect}
        help_texts = {
            "slug": "The model's address: lower-case letters, digits and hyphens.",
            "visibility": "You cannot change this later yourself; the site's staff can.",
        }

    def as_arguments(self) -> dict[str, Any]:
        """The cleaned fields as `services.publish_model` takes them."""
        cleaned = self.cleaned_data
        prices = ("price_prompt", "price_completion", "platform_fee")
        return {name: cleaned[name] for name in self.Meta.fields} | {
            f"{name}_wei": cleaned[name] for name in prices
        }
