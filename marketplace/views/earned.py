"""What a contributor's rows earned, and why."""

from __future__ import annotations

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from marketplace import selectors

ANSWERS_PER_PAGE = 25


@require_GET
def earned(request: HttpRequest) -> HttpResponse:
    """Answers by models trained on the reader's rows; `?show=others`: those that listed none."""
    others = request.GET.get("show") == "others"
    found = selectors.others_of(request.user) if others else selectors.earned_by(request.user)
    page = Paginator(found[: selectors.COUNTED_MAX], ANSWERS_PER_PAGE)
    context = {
        "page": page.get_page(request.GET.get("page")),
        "others": others,
        "totals": selectors.earned_totals(request.user),
    }
    return render(request, "marketplace/earned.html", context)


@require_GET
def earned_detail(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Why did I earn this? For the contributors, the model's owner and the consumer."""
    inference = selectors.concerned_answer_for(request.user, public_id)
    return render(
        request,
        "marketplace/earned_detail.html",
        selectors.earned_view(request.user, inference),
    )
