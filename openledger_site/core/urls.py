from __future__ import annotations

from django.urls import path

from openledger_site.core import views

app_name = "core"
urlpatterns = [
    path("<uuid:job_id>/", views.job_progress, name="job-progress"),
    path("<uuid:job_id>/cancel/", views.job_cancel, name="job-cancel"),
]
