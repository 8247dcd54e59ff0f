"""Form fields that several apps use."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from openledger_site.core.money import parse_open


class OpenField(forms.CharField):
    """An amount of OPEN as people write it; cleans to wei, an empty one to None."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return parse_open(text)
        except ValueError as problem:
            raise ValidationError(str(problem)) from None
