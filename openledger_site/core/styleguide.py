"""`/styleguide/`, in DEBUG only: every shared part of the pages, for those who write pages."""

from __future__ import annotations

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods


class SampleForm(forms.Form):
    """One field of each kind; send it empty to see the errors."""

    name = forms.CharField(help_text="What it is about, in a few words.")
    description = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    licence = forms.ChoiceField(choices=[("CC-BY-4.0", "CC BY 4.0"), ("CC0-1.0", "CC0 1.0")])
    agree = forms.BooleanField(label="I accept the agreement")
    upload = forms.FileField(required=False)


@login_not_required
@require_http_methods(["GET", "POST"])
def styleguide(request: HttpRequest) -> HttpResponse:
    form = SampleForm(request.POST or None, request.FILES or None)
    context = {
        "form": form,
        "shares": [{"label": name, "value": value} for name, value in (("One", 70), ("Two", 30))],
        "series": [{"name": "train", "points": [(step, 3 / (1 + step)) for step in range(12)]}],
    }
    status = 422 if form.errors else 200
    return render(request, "styleguide.html", context, status=status)
