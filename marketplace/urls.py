from __future__ import annotations

from django.urls import path

from marketplace import views

app_name = "marketplace"
urlpatterns = [
    path("", views.browse, name="browse"),
    path("answers/", views.answers, name="answers"),
    path("answers/<uuid:public_id>/", views.answer_part, name="answer"),
    path("answers/<uuid:public_id>/receipt/", views.receipt, name="receipt"),
    path("answers/<uuid:public_id>/receipt.json", views.receipt_download, name="receipt-download"),
    path("models/<slug:slug>/chat/", views.chat, name="chat"),
    path("models/<slug:slug>/income/", views.income, name="income"),
]
