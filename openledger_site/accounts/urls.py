from __future__ import annotations

from django.urls import path

from openledger_site.accounts import views

app_name = "accounts"
urlpatterns = [
    path("profile/", views.profile, name="profile"),
    path("profile/known.json", views.known, name="known"),
    path("profile/close/", views.account_close, name="close"),
    path("wallet/nonce/", views.wallet_nonce, name="wallet-nonce"),
    path("wallet/verify/", views.wallet_verify, name="wallet-verify"),
    path("wallets/<int:wallet_id>/unlink/", views.wallet_unlink, name="wallet-unlink"),
    path("keys/", views.api_keys, name="api-keys"),
    path("keys/<uuid:public_id>/revoke/", views.api_key_revoke, name="api-key-revoke"),
]
