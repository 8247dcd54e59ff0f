from __future__ import annotations

from django.urls import path

from modelfactory import views

app_name = "modelfactory"
urlpatterns = [
    path("", views.run_list, name="list"),
    path("runs/new/", views.run_new, name="run-new"),
    path("runs/start/", views.run_start, name="run-start"),
    path("runs/<uuid:run_id>/", views.run_detail, name="run-detail"),
    path("runs/<uuid:run_id>/progress/", views.run_progress, name="run-progress"),
    path("runs/<uuid:run_id>/stop/", views.run_stop, name="run-stop"),
    path("runs/<uuid:run_id>/resume/", views.run_resume, name="run-resume"),
    path("runs/<uuid:run_id>/retry/", views.run_retry, name="run-retry"),
    path("runs/<uuid:run_id>/doubt/", views.run_doubt, name="run-doubt"),
    path("runs/<uuid:run_id>/publish/", views.model_publish, name="model-publish"),
    path("models/<slug:slug>/", views.model_detail, name="model-detail"),
    path("models/<slug:slug>/fidelity/", views.model_fidelity, name="model-fidelity"),
    path("models/<slug:slug>/calibrate/", views.model_calibrate, name="model-calibrate"),
    path(
        "models/<slug:slug>/calibrate/stop/",
        views.model_calibrate_stop,
        name="model-calibrate-stop",
    ),
    path("models/<slug:slug>/value/", views.model_value, name="model-value"),
    path(
        "models/<slug:slug>/value/measure/", views.model_value_measure, name="model-value-measure"
    ),
    path("models/<slug:slug>/value/stop/", views.model_value_stop, name="model-value-stop"),
]
