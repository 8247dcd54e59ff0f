"""/v1: the OpenAI-compatible API."""

from __future__ import annotations

from django.urls import path

from datanets import api_files
from marketplace import api

app_name = "v1"
urlpatterns = [
    path("models", api.model_list, name="model-list"),
    path("models/<path:name>", api.model_detail, name="model-detail"),
    path("files", api_files.file_collection, name="file-list"),
    path("files/<str:file_id>", api_files.file_item, name="file-detail"),
    path("chat/completions", api.chat_completions, name="chat-completions"),
    path("chat/completions/<str:completion_id>", api.chat_completion, name="chat-completion"),
]
