"""Home, health, and the progress of any job."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from openledger_site.core.jobs import job_for, may_be_stopped, stop_job


@login_not_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    template = "home_signed_in.html" if request.user.is_authenticated else "home.html"
    return render(request, template)


@login_not_required
@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"ok": True})


@login_not_required
@require_GET
def readyz(request: HttpRequest) -> HttpResponse:
    """The process can do its work: the database answers. 503 and the reason if not."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception as problem:  # whatever the driver raises, the answer is the same
        return JsonResponse({"ok": False, "database": type(problem).__name__}, status=503)
    return JsonResponse({"ok": True, "database": "ok"})


@require_GET
def job_progress(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = job_for(request.user, job_id)
    context = {"job": job, "may_be_stopped": may_be_stopped(job)}
    return render(request, "core/job_progress.html", context)


@require_POST
def job_cancel(request: HttpRequest, job_id: UUID) -> HttpResponse:
    job = job_for(request.user, job_id)
    stop_job(job)
    return redirect("core:job-progress", job_id=job.pk)
