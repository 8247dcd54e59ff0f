from __future__ import annotations

from django.contrib import admin

from openledger_site.accounts.models import ApiKey, User, Wallet


@admin.register(User)
class UserAdmin(admin.ModelAdmin[User]):
    list_display = ["name", "email", "is_staff", "is_active", "date_joined"]
    search_fields = ["email", "display_name", "public_id"]
    readonly_fields = ["public_id", "date_joined", "last_login"]
    exclude = ["password", "user_permissions"]


@admin.register(Wallet)
class WalletAdmin(admin.ModelAdmin[Wallet]):
    list_display = ["address", "user", "chain_id", "linked_at", "unlinked_at"]
    search_fields = ["address", "user__email"]
    readonly_fields = [field.name for field in Wallet._meta.fields]


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin[ApiKey]):
    list_display = ["prefix", "name", "user", "created_at", "last_used_at", "revoked_at"]
    search_fields = ["prefix", "user__email"]
    exclude = ["digest"]
    readonly_fields = [f.name for f in ApiKey._meta.fields if f.name != "digest"]
