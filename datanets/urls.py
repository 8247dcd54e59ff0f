from __future__ import annotations

from django.urls import path

from datanets import api, api_uploads
from datanets.views import (
    access,
    cards,
    contributions,
    datanets,
    members,
    quality,
    reviews,
    rows,
    uploads,
    versions,
)

app_name = "datanets"
urlpatterns = [
    path("", datanets.datanet_list, name="datanet-list"),
    path("new/", datanets.datanet_create, name="datanet-create"),
    path("contributions/", contributions.contribution_list, name="contribution-list"),
    path("contributions/waiting/", contributions.waiting, name="waiting"),
    path(
        "contributions/<uuid:contribution_id>/",
        contributions.contribution_detail,
        name="contribution-detail",
    ),
    path(
        "contributions/<uuid:contribution_id>/progress/",
        contributions.contribution_progress,
        name="contribution-progress",
    ),
    path(
        "contributions/<uuid:contribution_id>/columns/",
        contributions.contribution_map,
        name="contribution-map",
    ),
    path(
        "contributions/<uuid:contribution_id>/decide/",
        contributions.contribution_decide,
        name="contribution-decide",
    ),
    path(
        "contributions/<uuid:contribution_id>/withdraw/",
        contributions.contribution_withdraw,
        name="contribution-withdraw",
    ),
    path(
        "contributions/<uuid:contribution_id>/bad-rows/",
        contributions.contribution_bad_rows,
        name="contribution-bad-rows",
    ),
    path("uploads/<uuid:upload_id>/discard/", uploads.upload_discard, name="upload-discard"),
    path("records/<uuid:record_id>/", versions.record_detail, name="record-detail"),
    path("records/<uuid:record_id>/sample/", rows.record_sample, name="record-sample"),
    path("records/<uuid:record_id>/review/", reviews.record_review, name="record-review"),
    path("records/<uuid:record_id>/appeal/", quality.record_appeal, name="record-appeal"),
    path("records/<uuid:record_id>/doubt/", quality.record_doubt, name="record-doubt"),
    path("second-looks/<uuid:look_id>/", quality.second_look_decide, name="second-look-decide"),
    path("records/<uuid:record_id>/gold/", quality.gold_make, name="gold-make"),
    path("records/<uuid:record_id>/gold/retire/", quality.gold_retire, name="gold-retire"),
    path("versions/<uuid:version_id>/", versions.version_detail, name="version-detail"),
    path(
        "versions/<uuid:version_id>/manifest/", versions.version_manifest, name="version-manifest"
    ),
    path("versions/<uuid:version_id>/rows/", rows.version_rows, name="version-rows"),
    path(
        "versions/<uuid:version_id>/croissant/", cards.version_croissant, name="version-croissant"
    ),
    path(
        "versions/<uuid:version_id>/proofs/<uuid:record_id>/",
        versions.version_proof,
        name="version-proof",
    ),
    path("grants/<uuid:grant_id>/", access.grant_decide, name="grant-decide"),
    path("grants/<uuid:grant_id>/withdraw/", access.grant_withdraw, name="grant-withdraw"),
    path("api/datanets/", api.datanet_collection, name="api-datanet-list"),
    path("api/datanets/<slug:slug>/", api.datanet_item, name="api-datanet-detail"),
    path(
        "api/datanets/<slug:slug>/contributions/",
        api.contribution_collection,
        name="api-contribution-list",
    ),
    path("api/datanets/<slug:slug>/versions/", api.version_collection, name="api-version-list"),
    path(
        "api/datanets/<slug:slug>/uploads/",
        api_uploads.upload_collection,
        name="api-upload-list",
    ),
    path("api/uploads/<uuid:upload_id>/", api_uploads.upload_item, name="api-upload-item"),
    path(
        "api/contributions/<uuid:contribution_id>/",
        api.contribution_item,
        name="api-contribution-detail",
    ),
    path(
        "api/contributions/<uuid:contribution_id>/decision/",
        api.contribution_decision,
        name="api-contribution-decision",
    ),
    path("<slug:slug>/", datanets.datanet_detail, name="datanet-detail"),
    path("<slug:slug>/contribute/", contributions.contribution_create, name="contribution-create"),
    path("<slug:slug>/review/", reviews.review_queue, name="review-queue"),
    path("<slug:slug>/review/all/", reviews.review_all, name="review-all"),
    path("<slug:slug>/review/undo/<uuid:batch>/", reviews.review_undo, name="review-undo"),
    path("<slug:slug>/review/quality/", quality.review_quality, name="review-quality"),
    path("<slug:slug>/review/again/", quality.second_look_list, name="second-look-list"),
    path("<slug:slug>/review/rules/", quality.review_rules, name="review-rules"),
    path("<slug:slug>/versions/", versions.version_create, name="version-create"),
    path("<slug:slug>/rows/", rows.row_list, name="row-list"),
    path("<slug:slug>/card/", cards.card_edit, name="card-edit"),
    path("<slug:slug>/members/", members.member_list, name="member-list"),
    path("<slug:slug>/members/owner/", members.owner_transfer, name="owner-transfer"),
    path("<slug:slug>/members/<int:membership_id>/role/", members.member_role, name="member-role"),
    path(
        "<slug:slug>/members/<int:membership_id>/remove/",
        members.member_remove,
        name="member-remove",
    ),
    path("<slug:slug>/access/", access.access_request, name="access-request"),
    path("<slug:slug>/requests/", access.request_list, name="request-list"),
    path("<slug:slug>/log/", access.access_log, name="access-log"),
    path("<slug:slug>/questions/", access.access_questions, name="access-questions"),
]
