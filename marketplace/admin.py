"""Disputes for staff to read: what they decide about money, they decide elsewhere and by hand."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from marketplace.models import Dispute


@admin.register(Dispute)
class DisputeAdmin(admin.ModelAdmin[Dispute]):
    list_display = ["created_at", "state", "model_name", "raised_by", "finding_words", "decided_at"]
    list_select_related = ["inference__model", "raised_by"]
    list_filter = ["state"]
    search_fields = ["public_id", "inference__public_id", "raised_by__email"]
    # The answer's own page would show texts that belong to its consumer: only its id is here.
    fields = [
        "page", "inference", "raised_by", "records", "reason", "state", "created_at",
        "finding", "decided_at",
    ]  # fmt: skip

    @admin.display(description="Model")
    def model_name(self, dispute: Dispute) -> str:
        return dispute.inference.model.name

    @admin.display(description="Finding")
    def finding_words(self, dispute: Dispute) -> str:
        return dispute.finding["sentence"] if dispute.finding else ""

    @admin.display(description="Page")
    def page(self, dispute: Dispute) -> str:
        return format_html('<a href="{}">{}</a>', dispute.get_absolute_url(), dispute.public_id)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Dispute | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Dispute | None = None) -> bool:
        return False
