from __future__ import annotations

from django.urls import path

from marketplace.views import (
    agents,
    answers,
    disputes,
    earned,
    erasure,
    lineage,
    refunds,
    spending,
    takedowns,
)

app_name = "marketplace"
urlpatterns = [
    path("", answers.browse, name="browse"),
    path("answers/", answers.answers, name="answers"),
    path("answers/erase/", erasure.answers_erase, name="answers-erase"),
    path("answers/<uuid:public_id>/erase/", erasure.answer_erase, name="answer-erase"),
    path("answers/<uuid:public_id>/", answers.answer_part, name="answer"),
    path("answers/<uuid:public_id>/receipt/", answers.receipt, name="receipt"),
    path(
        "answers/<uuid:public_id>/receipt.json", answers.receipt_download, name="receipt-download"
    ),
    path("answers/<uuid:public_id>/refund/", refunds.refund_new, name="refund-new"),
    path("refunds/<uuid:public_id>/", refunds.refund, name="refund"),
    path("spending/", spending.spending, name="spending"),
    path("spending/answers.csv", spending.invoice, name="spending-invoice"),
    path("spending/cap/", spending.cap_set, name="spending-cap"),
    path("spending/keys/<uuid:public_id>/", spending.key_cap_set, name="spending-key-cap"),
    path("earned/", earned.earned, name="earned"),
    path("earned/<uuid:public_id>/", earned.earned_detail, name="earned-detail"),
    path("earned/<uuid:public_id>/dispute/", disputes.dispute_new, name="dispute-new"),
    path("disputes/<uuid:public_id>/", disputes.dispute, name="dispute"),
    path("disputes/<uuid:public_id>/again/", disputes.dispute_again, name="dispute-again"),
    path("datanets/<slug:slug>/lineage/", lineage.datanet_lineage, name="datanet-lineage"),
    path("datanets/<slug:slug>/earned/", lineage.datanet_earned, name="datanet-earned"),
    path("agents/", agents.agent_list, name="agents"),
    path("agents/new/", agents.agent_new, name="agent-new"),
    path("agents/<slug:slug>/", agents.agent_detail, name="agent"),
    path("agents/<slug:slug>/edit/", agents.agent_edit, name="agent-edit"),
    path("agents/<slug:slug>/chat/", answers.agent_chat, name="agent-chat"),
    path("agents/<slug:slug>/retire/", agents.agent_retire, name="agent-retire"),
    path("agents/<slug:slug>/bring-back/", agents.agent_bring_back, name="agent-bring-back"),
    path("agents/<slug:slug>/take-down/", takedowns.take_down, name="agent-take-down"),
    path("agents/<slug:slug>/appeal/", takedowns.appeal, name="agent-appeal"),
    path("agents/<slug:slug>/answer/", takedowns.answer, name="agent-answer"),
    path("models/<slug:slug>/chat/", answers.chat, name="chat"),
    path("models/<slug:slug>/income/", answers.income, name="income"),
]
