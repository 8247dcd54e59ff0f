from __future__ import annotations

from django.urls import path

from rewards import api, governance_views, stake_views, views

app_name = "rewards"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("statement.csv", views.statement_export, name="statement-export"),
    path("deposits/", views.deposit_state, name="deposit-state"),
    path("claims/", views.claim_state, name="claim-state"),
    path("earnings/", views.earnings, name="earnings"),
    path("epochs/", views.epoch_list, name="epoch-list"),
    path("epochs/close/", views.epoch_close, name="epoch-close"),
    path("epochs/<int:number>/", views.epoch_detail, name="epoch-detail"),
    path("epochs/<int:number>/leaves.json", views.epoch_leaves, name="epoch-leaves"),
    path("governance/", governance_views.proposal_list, name="governance"),
    path("governance/power/", governance_views.voting_power, name="voting-power"),
    path("governance/found/", governance_views.proposal_found, name="proposal-found"),
    path("governance/new/", governance_views.proposal_choose, name="proposal-choose"),
    path("governance/new/<slug:action>/", governance_views.proposal_new, name="proposal-new"),
    path("governance/<uuid:public_id>/", governance_views.proposal_detail, name="proposal-detail"),
    path(
        "governance/<uuid:public_id>/state/",
        governance_views.proposal_state,
        name="proposal-state",
    ),
    path("stakes/", stake_views.stake_list, name="stakes"),
    path("stakes/state/", stake_views.stake_state, name="stake-state"),
    path("stakes/<slug:kind>/<uuid:public_id>/", stake_views.stake_target, name="stake-target"),
    path("stakes/<slug:kind>/<uuid:public_id>/panel/", stake_views.stake_panel, name="stake-panel"),
    path(
        "stakes/<slug:kind>/<uuid:public_id>/preview/",
        stake_views.stake_preview,
        name="stake-preview",
    ),
    path("stakes/<slug:kind>/<uuid:public_id>/slash/", stake_views.slash_new, name="slash-new"),
    path("slashes/<uuid:public_id>/overturn/", stake_views.slash_overturn, name="slash-overturn"),
    path("status/", views.status, name="status"),
    path("api/balance", api.BalanceView.as_view(), name="api-balance"),
    path("api/claim", api.ClaimView.as_view(), name="api-claim"),
    path("api/contracts", api.ContractsView.as_view(), name="api-contracts"),
]
