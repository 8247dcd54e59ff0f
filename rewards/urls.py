from __future__ import annotations

from django.urls import path

from rewards import api
from rewards.views import assets, explorer, governance, money, reputation, stakes, vesting

app_name = "rewards"
urlpatterns = [
    path("", money.overview, name="overview"),
    path("statement.csv", money.statement_export, name="statement-export"),
    path("statement.json", money.statement_json, name="statement-json"),
    path("deposits/", money.deposit_state, name="deposit-state"),
    path("claims/", money.claim_state, name="claim-state"),
    path("earnings/", money.earnings, name="earnings"),
    path("epochs/", money.epoch_list, name="epoch-list"),
    path("epochs/close/", money.epoch_close, name="epoch-close"),
    path("epochs/<int:number>/", money.epoch_detail, name="epoch-detail"),
    path("epochs/<int:number>/leaves.json", money.epoch_leaves, name="epoch-leaves"),
    path("explorer/", explorer.overview, name="explorer"),
    path("explorer/anchors/", explorer.anchor_list, name="anchor-list"),
    path("explorer/days/", explorer.closing_list, name="closing-list"),
    path("explorer/contracts/", explorer.contract_list, name="contract-list"),
    path("explorer/addresses/<str:address>/", explorer.address_detail, name="address-detail"),
    path("explorer/unlocks/", vesting.unlock_list, name="unlock-list"),
    path("grants/state/", vesting.release_state, name="release-state"),
    path("grants/<str:wallet>/release/", vesting.grant_release, name="grant-release"),
    path("reputation/", reputation.reputation, name="reputation"),
    path("reputation/token/", reputation.reputation_token, name="reputation-token"),
    path("reputation/write/", reputation.reputation_write, name="reputation-write"),
    path("reputation.json", reputation.reputation_json, name="reputation-json"),
    path("people/<uuid:public_id>/", reputation.person, name="person"),
    path("governance/", governance.proposal_list, name="governance"),
    path("governance/power/", governance.voting_power, name="voting-power"),
    path("governance/found/", governance.proposal_found, name="proposal-found"),
    path("governance/new/", governance.proposal_choose, name="proposal-choose"),
    path("governance/new/<slug:action>/", governance.proposal_new, name="proposal-new"),
    path("governance/<uuid:public_id>/", governance.proposal_detail, name="proposal-detail"),
    path(
        "governance/<uuid:public_id>/state/",
        governance.proposal_state,
        name="proposal-state",
    ),
    path("assets/tokens/<str:number>", assets.asset_metadata, name="asset-metadata"),
    path("assets/<slug:kind>/<uuid:public_id>/", assets.asset_detail, name="asset"),
    path("assets/<slug:kind>/<uuid:public_id>/panel/", assets.asset_panel, name="asset-panel"),
    path(
        "assets/<slug:kind>/<uuid:public_id>/register/",
        assets.asset_register,
        name="asset-register",
    ),
    path("stakes/", stakes.stake_list, name="stakes"),
    path("stakes/state/", stakes.stake_state, name="stake-state"),
    path("stakes/<slug:kind>/<uuid:public_id>/", stakes.stake_target, name="stake-target"),
    path("stakes/<slug:kind>/<uuid:public_id>/panel/", stakes.stake_panel, name="stake-panel"),
    path(
        "stakes/<slug:kind>/<uuid:public_id>/preview/",
        stakes.stake_preview,
        name="stake-preview",
    ),
    path("stakes/<slug:kind>/<uuid:public_id>/slash/", stakes.slash_new, name="slash-new"),
    path("slashes/<uuid:public_id>/appeal/", stakes.slash_appeal, name="slash-appeal"),
    path("slashes/<uuid:public_id>/overturn/", stakes.slash_overturn, name="slash-overturn"),
    path("status/", money.status, name="status"),
    path("api/balance", api.BalanceView.as_view(), name="api-balance"),
    path("api/claim", api.ClaimView.as_view(), name="api-claim"),
    path("api/contracts", api.ContractsView.as_view(), name="api-contracts"),
]
