"""Pages of the ModelFactory: runs, the wizard that starts them, and the models they become."""

from __future__ import annotations

import uuid
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from modelfactory import pages, selectors, services
from modelfactory.contributor_value import value_context
from modelfactory.fidelity import fidelity_context
from modelfactory.forms import PublishForm, RunForm
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.idempotency import idempotent
from openledger_site.core.jobs import cancel_job

RUNS_PER_PAGE = 20


@require_GET
def run_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(selectors.runs_of(request.user), RUNS_PER_PAGE).get_page(
        request.GET.get("page")
    )
    return render(request, "modelfactory/run_list.html", {"page": page})


@require_GET
def run_new(request: HttpRequest) -> HttpResponse:
    """The wizard. All it knows is in the address, so that back, reload and a bookmark work."""
    form = RunForm(request.GET, user=request.user)
    wizard = pages.wizard(request.user, form, asked=request.GET.get("step", "goal"))
    context = {"form": form, "wizard": wizard, "idempotency_key": uuid.uuid4()}
    return render(request, "modelfactory/run_new.html", context)


@require_POST
@idempotent
def run_start(request: HttpRequest) -> HttpResponse:
    form = RunForm(request.POST, user=request.user)
    if not form.is_valid():
        context = {"form": form, "wizard": pages.wizard(request.user, form, asked="plan")}
        return render(request, "modelfactory/run_new.html", context, status=422)
    run = services.start_run(builder=request.user, **form.cleaned_data)
    return redirect("modelfactory:run-detail", run.public_id)


@require_GET
def run_detail(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = selectors.run_for(request.user, run_id)
    return render(request, "modelfactory/run_detail.html", pages.run_context(request.user, run))


@require_GET
def run_progress(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """The live part of the run page: fetched whenever the job's rows changed."""
    run = selectors.run_for(request.user, run_id)
    return render(request, "modelfactory/_run_live.html", pages.run_context(request.user, run))


@require_POST
def run_stop(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = selectors.run_for(request.user, run_id)
    if run.job is not None:
        cancel_job(run.job)
    return redirect("modelfactory:run-detail", run.public_id)


@require_POST
def run_doubt(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = selectors.run_for(request.user, run_id)
    count = services.doubt_worst_rows(run, signed_in_user(request))
    said = f"The curators will look at {count} rows." if count else "They have these rows already."
    messages.success(request, said)
    return redirect("modelfactory:run-detail", run.public_id)


@require_POST
@idempotent
def run_resume(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = selectors.run_for(request.user, run_id)
    services.resume_run(run)
    return redirect("modelfactory:run-detail", run.public_id)


@require_POST
@idempotent
def run_retry(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = selectors.run_for(request.user, run_id)
    again = services.retry_safer(run)
    return redirect("modelfactory:run-detail", again.public_id)


@require_http_methods(["GET", "POST"])
@idempotent
def model_publish(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = selectors.run_for(request.user, run_id)
    if hasattr(run, "model"):
        return redirect("modelfactory:model-detail", run.model.slug)
    if not run.succeeded:
        raise services.NotReadyToPublish()
    form = PublishForm(request.POST or None, initial=pages.publish_initial(run))
    if form.is_valid():
        model = services.publish_model(run, **form.as_arguments())
        return redirect("modelfactory:model-detail", model.slug)
    context = {"form": form, "run": run, "idempotency_key": uuid.uuid4()}
    status = 422 if form.is_bound else 200
    return render(request, "modelfactory/model_publish.html", context, status=status)


@login_not_required
@require_GET
def model_detail(request: HttpRequest, slug: str) -> HttpResponse:
    model = selectors.model_for(request.user, slug)
    context = pages.model_context(model) | value_context(request.user, model)
    return render(request, "modelfactory/model_detail.html", context)


@login_not_required
@require_GET
def model_fidelity(request: HttpRequest, slug: str) -> HttpResponse:
    """The panel that says how well attribution is known: fetched again while it is measured."""
    model = selectors.model_for(request.user, slug)
    return render(request, "modelfactory/_model_fidelity.html", fidelity_context(model))


@require_POST
@idempotent
def model_calibrate(request: HttpRequest, slug: str) -> HttpResponse:
    model = selectors.model_owned_by(request.user, slug)
    services.start_calibration(model, actor=request.user)
    return redirect(f"{reverse('modelfactory:model-detail', args=[model.slug])}#fidelity")


@require_POST
def model_calibrate_stop(request: HttpRequest, slug: str) -> HttpResponse:
    """Not `idempotent`, which would hold a transaction open: stopping twice changes nothing."""
    model = selectors.model_owned_by(request.user, slug)
    services.stop_calibration(model, actor=request.user)
    return redirect(f"{reverse('modelfactory:model-detail', args=[model.slug])}#fidelity")


@login_not_required
@require_GET
def model_value(request: HttpRequest, slug: str) -> HttpResponse:
    """The panel that says who made the model better: fetched again while it is measured."""
    model = selectors.model_for(request.user, slug)
    return render(request, "modelfactory/_model_value.html", value_context(request.user, model))


@require_POST
@idempotent
def model_value_measure(request: HttpRequest, slug: str) -> HttpResponse:
    model = selectors.model_owned_by(request.user, slug)
    services.start_valuation(model, actor=request.user)
    return redirect(f"{reverse('modelfactory:model-detail', args=[model.slug])}#value")


@require_POST
def model_value_stop(request: HttpRequest, slug: str) -> HttpResponse:
    """Not `idempotent`, which would hold a transaction open: stopping twice changes nothing."""
    model = selectors.model_owned_by(request.user, slug)
    services.stop_valuation(model, actor=request.user)
    return redirect(f"{reverse('modelfactory:model-detail', args=[model.slug])}#value")
