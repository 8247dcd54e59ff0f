"""Form fields that several apps use, and what a program is told about a wrong one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from openledger_site.core.errors import DomainError
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


def require_valid(form: forms.BaseForm) -> None:
    """Raises `first_mistake` of an invalid form."""
    if not form.is_valid():
        raise first_mistake(form)


def first_mistake(form: forms.BaseForm) -> DomainError:
    """What a program is told about an invalid form: its first wrong field, as a 422."""
    field, problems = next(iter(form.errors.items()))
    where = "" if field == "__all__" else field
    return DomainError(str(problems[0]), where=where, code="invalid")
