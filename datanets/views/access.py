"""Ask for access, and answer those who ask."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from datanets import selectors, services
from datanets.forms import AccessQuestionsForm, AccessRequestForm, GrantDecisionForm
from datanets.models import AccessGrant
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.form_fields import require_valid

PAGE_ROWS, LOG_ROWS = 20, 50


@require_http_methods(["GET", "POST"])
def access_request(request: HttpRequest, slug: str) -> HttpResponse:
    """The form, and what became of what this person asked before."""
    datanet = selectors.datanet_for(request.user, slug)
    form = AccessRequestForm(request.POST or None, questions=datanet.questions)
    if request.method == "POST" and form.is_valid():
        services.request_access(
            datanet=datanet, user=signed_in_user(request), **form.as_arguments()
        )
        messages.success(request, "The owner and the curators have your request.")
        return redirect("datanets:access-request", slug)
    context = {
        "datanet": datanet,
        "rights": selectors.rights_of(request.user, datanet),
        "form": form,
        "grants": selectors.grants_of(request.user, datanet),
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "datanets/access_request.html", context, status=status)


@require_POST
def grant_withdraw(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    grant = selectors.grant_for_asker(request.user, grant_id)
    services.withdraw_request(grant=grant, actor=signed_in_user(request))
    messages.success(request, "Your request is withdrawn.")
    return redirect("datanets:access-request", grant.datanet.slug)


@require_GET
def request_list(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_curator(request.user, slug)
    rows = selectors.requests_of(datanet)
    context = {
        "datanet": datanet,
        "rights": selectors.rights_of(request.user, datanet),
        "page": Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page")),
        "today": timezone.now(),
        "questions_form": AccessQuestionsForm(instance=datanet),
    }
    return render(request, "datanets/request_list.html", context)


@require_POST
def grant_decide(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    grant = selectors.grant_for_decider(request.user, grant_id)
    form = GrantDecisionForm(request.POST)
    require_valid(form)
    decided = _decide(grant, form, request)
    messages.success(request, f"{decided.user.name}: {decided.state}.")
    return redirect("datanets:request-list", grant.datanet.slug)


def _decide(grant: AccessGrant, form: GrantDecisionForm, request: HttpRequest) -> AccessGrant:
    decision, answer = form.cleaned_data["decision"], form.cleaned_data["answer"]
    actor = signed_in_user(request)
    if decision == "revoke":
        return services.revoke_grant(grant=grant, actor=actor, answer=answer)
    granted = decision == "grant"
    return services.decide_grant(
        grant=grant, actor=actor, granted=granted, answer=answer, days=form.days
    )


@require_POST
def access_questions(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    form = AccessQuestionsForm(request.POST, instance=datanet)
    require_valid(form)
    services.set_access_questions(datanet, form.cleaned_data["access_questions"])
    messages.success(request, "Whoever asks from now on answers these questions.")
    return redirect("datanets:request-list", slug)


@require_GET
def access_log(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_log(request.user, slug)
    entries = selectors.access_log(request.user, datanet)
    page = Paginator(entries, LOG_ROWS).get_page(request.GET.get("page"))
    context = {
        "datanet": datanet,
        "page": page,
        "lines": selectors.log_lines(page),
        "own": datanet.owner_id == request.user.pk,
        "rights_seen": selectors.visible_to(request.user).filter(pk=datanet.pk).exists(),
    }
    return render(request, "datanets/access_log.html", context)
