"""Jobs and the audit log for staff: to look at, never to change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from openledger_site.core.models import AuditEntry, Job


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that only services write."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "kind", "subject", "state", "attempt", "error_code", "message"]
    list_filter = ["state", "kind", "queue"]
    search_fields = ["id", "subject"]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ["number", "at", "actor", "action", "subject", "hash"]
    list_filter = ["action"]
    search_fields = ["subject", "actor"]
