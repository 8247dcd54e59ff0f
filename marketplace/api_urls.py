"""/v1: the OpenAI-compatible API."""

from __future__ import annotations

from django.urls import path

from marketplace import api

app_name = "v1"
urlpatterns = [
    path("models", api.model_list, name="model-list"),
    path("models/<path:name>", api.model_detail, name="model-detail"),
    path("chat/completions", api.chat_completions, name="chat-completions"),
]
