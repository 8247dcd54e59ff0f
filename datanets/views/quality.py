"""How review goes, its rules, test rows, and appeals."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from datanets import selectors, services
from datanets.forms import AppealForm, GoldForm, ReviewRulesForm, first_mistake
from openledger_site.accounts.requests import signed_in_user


@require_GET
def review_quality(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_curator(request.user, slug)
    context = {
        "datanet": datanet,
        "rights": selectors.rights_of(request.user, datanet),
        "quality": selectors.review_quality(datanet),
        "golds": selectors.gold_rows(datanet),
        "rules_form": ReviewRulesForm(instance=datanet),
    }
    return render(request, "datanets/review_quality.html", context)


@require_POST
def review_rules(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    form = ReviewRulesForm(request.POST, instance=datanet)
    if not form.is_valid():
        raise first_mistake(form)
    services.set_review_rules(datanet=datanet, actor=signed_in_user(request), **form.cleaned_data)
    messages.success(request, "Saved. It holds for votes from now on.")
    return redirect("datanets:review-quality", slug)


@require_POST
def gold_make(request: HttpRequest, record_id: UUID) -> HttpResponse:
    record = selectors.record_for_curator(request.user, record_id)
    form = GoldForm(request.POST)
    if not form.is_valid():
        raise first_mistake(form)
    services.make_gold(record=record, actor=signed_in_user(request), **form.cleaned_data)
    messages.success(request, "Reviewers will meet this row as a test.")
    return redirect("datanets:review-quality", record.datanet.slug)


@require_POST
def gold_retire(request: HttpRequest, record_id: UUID) -> HttpResponse:
    gold = selectors.gold_for_curator(request.user, record_id)
    services.retire_gold(gold=gold, actor=signed_in_user(request))
    messages.success(request, "Nobody meets this test row any more.")
    return redirect("datanets:review-quality", gold.record.datanet.slug)


@require_POST
def record_appeal(request: HttpRequest, record_id: UUID) -> HttpResponse:
    record = selectors.record_for_contributor(request.user, record_id)
    form = AppealForm(request.POST)
    if not form.is_valid():
        raise first_mistake(form)
    services.appeal_rejection(
        record=record, contributor=signed_in_user(request), **form.cleaned_data
    )
    messages.success(request, "A curator will look at it again.")
    return redirect(record)
