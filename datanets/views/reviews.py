"""The review queue: one row at a time, many at once, and undo."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from datanets import selectors, services
from datanets.content import answer_of, prompt_of
from datanets.differences import Piece, word_differences
from datanets.forms import QueueFilterForm, ReviewForm
from datanets.models import Datanet, Finding, GoldRow, Record
from datanets.provenance import answers_in_words
from datanets.selectors import content_of
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.form_fields import first_mistake


@require_GET
def review_queue(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_reviewer(request.user, slug)
    filter_form = QueueFilterForm(request.GET)
    filters = filter_form.filters()
    queue = selectors.review_queue(request.user, datanet, **filters)
    place = _place(request)
    filter_form.show_counts(selectors.flag_counts(datanet, request.user))
    record = queue.filter(pk__gt=place.get("after", 0)).first()
    if record is not None and not (filters or place):
        record = selectors.gold_due(request.user, datanet) or record
    if record is not None:
        services.note_reading(reader=request.user, datanet=datanet)
    context = {
        "datanet": datanet,
        "filter_form": filter_form,
        "query": urlencode(filters),
        "record": record,
        "waiting": selectors.so_many(queue),
        "skipped": bool(place),
        "here": urlencode({**filters, **place}),
        "last": selectors.last_batch_of(request.user, datanet),
        "review_form": ReviewForm(),
        "behind_wei": selectors.stake_behind(record.contribution) if record is not None else 0,
        "remarks": _remarks(request, record),
        "provenance": answers_in_words(record.contribution) if record is not None else [],
        "curates": selectors.is_senior(request.user, datanet),
        "said": selectors.reviews_shown(request.user, record)
        if record is not None and record.escalated
        else [],
    }
    part = "#card" if request.htmx else ""  # type: ignore[attr-defined] # set by django-htmx
    return render(request, f"datanets/review_queue.html{part}", context)


@dataclass(frozen=True, slots=True)
class _Shown:
    """One remark, and how the row differs from the one that it is like."""

    finding: Finding
    match: Record | None
    differences: list[Piece]


def _remarks(request: HttpRequest, record: Record | None) -> list[_Shown]:
    """Each match is compared once, though several rules may point at it."""
    shown: list[_Shown] = []
    compared: set[int] = set()
    remarks = selectors.remarks_on(request.user, record, reviews=True) if record else []
    for remark in remarks:
        match = None if remark.match and remark.match.pk in compared else remark.match
        pieces = word_differences(_whole(match), _whole(record)) if match and record else []
        compared.update([match.pk] if match else [])
        shown.append(_Shown(remark.finding, match, pieces))
    return shown


def _whole(record: Record) -> str:
    content = content_of(record)
    turns = " ".join(message["content"] for message in record.messages)
    return turns or f"{prompt_of(content)} {answer_of(content)}"


def _place(request: HttpRequest) -> dict[str, int]:
    """After which row the queue goes on: what was skipped stays skipped."""
    after = request.GET.get("after", "")
    return {"after": int(after[:18])} if after.isdecimal() else {}


def _queue_url(datanet: Datanet, request: HttpRequest) -> str:
    filters = QueueFilterForm(request.GET).filters()
    query = urlencode({**filters, **_place(request)})
    url = reverse("datanets:review-queue", args=[datanet.slug])
    return f"{url}?{query}" if query else url


@require_POST
def record_review(request: HttpRequest, record_id: UUID) -> HttpResponse:
    record = selectors.record_for_reviewer(request.user, record_id)
    form = ReviewForm(request.POST)
    if form.is_valid():
        decision = services.review_record(
            record=record, reviewer=signed_in_user(request), **form.cleaned_data
        )
        if decision.gold is not None:
            _tell_about_test(request, decision.gold, form.cleaned_data["verdict"])
    else:
        messages.error(request, first_mistake(form).message)
    return redirect(_queue_url(record.datanet, request))


def _tell_about_test(request: HttpRequest, gold: GoldRow, verdict: str) -> None:
    """A reviewer learns at once that it was a test, and what it was to show."""
    if verdict == gold.expected:
        messages.success(request, f"That was a test row, and you were right. {gold.explanation}")
    else:
        wanted = gold.get_expected_display().lower()
        messages.warning(
            request, f"That was a test row; the answer was “{wanted}”. {gold.explanation}"
        )


@require_POST
def review_all(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_reviewer(request.user, slug)
    filters = QueueFilterForm(request.GET).filters()
    form = ReviewForm(request.POST)
    if not form.is_valid():
        messages.error(request, first_mistake(form).message)
        return redirect(_queue_url(datanet, request))
    decision = services.review_all(
        records=selectors.review_queue(request.user, datanet, **filters),
        datanet=datanet,
        reviewer=signed_in_user(request),
        **form.cleaned_data,
    )
    messages.success(request, _said(decision, form.cleaned_data["verdict"]))
    return redirect(_queue_url(datanet, request))


def _said(decision: services.Decision, verdict: str) -> str:
    done = {"approve": "approved", "reject": "rejected"}.get(verdict, "left to a curator")
    rows = f"{decision.count:,} row{'' if decision.count == 1 else 's'}"
    if verdict == "flag" or decision.decided == decision.count:
        return f"{rows} {done}."
    return f"You voted on {rows}; this decided {decision.decided:,}."


@require_POST
def review_undo(request: HttpRequest, slug: str, batch: UUID) -> HttpResponse:
    datanet = selectors.datanet_for_reviewer(request.user, slug)
    decision = services.undo_review(datanet=datanet, reviewer=signed_in_user(request), batch=batch)
    messages.success(request, f"{decision.count} rows are back in the queue.")
    return redirect(_queue_url(datanet, request))
