"""Erase what one asked and what was answered: one answer, or all."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from marketplace import selectors, services
from openledger_site.accounts.requests import signed_in_user


@require_POST
def answer_erase(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """For whoever paid for the answer."""
    inference = selectors.inference_for(request.user, public_id)
    services.erase_answer(inference=inference, actor=signed_in_user(request))
    messages.success(request, "Erased: nobody can read this question and its answer any more.")
    return redirect("marketplace:receipt", public_id)


@require_POST
def answers_erase(request: HttpRequest) -> HttpResponse:
    """Everything up to now, in the background."""
    services.start_erasing(consumer=signed_in_user(request))
    messages.success(
        request,
        "Your questions and their answers are being erased. Those that an audit is reading follow"
        " when it has ended; those under way stay until you erase them.",
    )
    return redirect("marketplace:answers")
