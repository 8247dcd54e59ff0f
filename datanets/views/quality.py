"""How review goes, its rules, test rows, and appeals."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from datanets import selectors, services
from datanets.forms import (
    AppealForm,
    DoubtForm,
    GoldForm,
    ReviewRulesForm,
    SecondLookForm,
)
from datanets.models import SecondLook
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.form_fields import require_valid

LOOKS_A_PAGE = 20


@require_GET
def review_quality(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_curator(request.user, slug)
    context = {
        "datanet": datanet,
        "rights": selectors.rights_of(request.user, datanet),
        "quality": selectors.review_quality(datanet),
        "golds": selectors.gold_rows(datanet),
        "rules_form": ReviewRulesForm(instance=datanet),
        "looks": selectors.second_looks(request.user, datanet).count(),
    }
    return render(request, "datanets/review_quality.html", context)


@require_POST
def review_rules(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    form = ReviewRulesForm(request.POST, instance=datanet)
    require_valid(form)
    services.set_review_rules(datanet=datanet, actor=signed_in_user(request), **form.cleaned_data)
    messages.success(request, "Saved. It holds for votes from now on.")
    return redirect("datanets:review-quality", slug)


@require_POST
def gold_make(request: HttpRequest, record_id: UUID) -> HttpResponse:
    record = selectors.record_for_curator(request.user, record_id)
    form = GoldForm(request.POST)
    require_valid(form)
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
    require_valid(form)
    services.appeal_rejection(
        record=record, contributor=signed_in_user(request), **form.cleaned_data
    )
    messages.success(request, "A curator will look at it again.")
    return redirect(record)


@require_GET
def second_look_list(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_curator(request.user, slug)
    looks = selectors.second_looks(request.user, datanet)
    page = Paginator(looks, LOOKS_A_PAGE).get_page(request.GET.get("page"))
    if page.object_list:
        services.note_reading(reader=request.user, datanet=datanet)
    context = {"datanet": datanet, "page": page, "form": SecondLookForm()}
    return render(request, "datanets/second_look_list.html", context)


@require_POST
def second_look_decide(request: HttpRequest, look_id: UUID) -> HttpResponse:
    look = selectors.second_look_for(request.user, look_id)
    form = SecondLookForm(request.POST)
    require_valid(form)
    keep = form.cleaned_data["decision"] == "keep"
    services.decide_second_look(
        look=look, curator=signed_in_user(request), keep=keep, reason=form.cleaned_data["reason"]
    )
    said = "The row stays." if keep else "The next version is cut without it."
    messages.success(request, said)
    return redirect("datanets:second-look-list", look.record.datanet.slug)


@require_POST
def record_doubt(request: HttpRequest, record_id: UUID) -> HttpResponse:
    record = selectors.record_for(request.user, record_id)
    form = DoubtForm(request.POST)
    require_valid(form)
    services.ask_to_look_again(
        record_ids=[record.public_id],
        source=SecondLook.Source.READER,
        note=form.cleaned_data["note"],
        opened_by=signed_in_user(request),
    )
    messages.success(request, "The curators will look at it.")
    return redirect(record)
