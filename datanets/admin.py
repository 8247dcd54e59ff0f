"""For curators among the staff: the same decisions as on the site, through the same services."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from datanets import services
from datanets.models import (
    AccessGrant,
    Contribution,
    Datanet,
    Membership,
    Record,
    Review,
    Version,
)
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.admin import ReadOnlyAdmin


class MembershipInline(admin.TabularInline[Membership, Datanet]):
    """Shown, not edited: roles change on the site, where the change is audited."""

    model = Membership
    extra = max_num = 0
    can_delete = False
    readonly_fields = ["user", "role"]


@admin.register(Datanet)
class DatanetAdmin(admin.ModelAdmin[Datanet]):
    list_display = ["name", "owner", "visibility", "licence", "created_at"]
    list_filter = ["visibility", "licence"]
    list_select_related = ["owner"]
    search_fields = ["name", "slug", "description"]
    readonly_fields = ["public_id", "slug", "owner", "created_at"]
    inlines = [MembershipInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Contribution)
class ContributionAdmin(ReadOnlyAdmin):
    list_display = [
        "title",
        "datanet",
        "contributor",
        "state",
        "rows_accepted",
        "rows_rejected",
        "licence",
        "created_at",
    ]
    list_filter = ["state", "licence", "datanet"]
    list_select_related = ["datanet", "contributor"]
    search_fields = ["title", "public_id", "file_digest"]


@admin.register(Record)
class RecordAdmin(admin.ModelAdmin[Record]):
    list_display = ["__str__", "datanet", "kind", "state", "flags", "question", "answer"]
    list_filter = ["state", "kind", "datanet"]
    list_select_related = ["datanet"]
    search_fields = ["instruction", "response", "text", "public_id", "content_hash"]
    search_help_text = "Rows of private Datanets are stored sealed: find them by id or keyed hash."
    actions = ["approve", "reject"]
    exclude = ["salt"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in Record._meta.fields if field.name not in self.exclude]

    @admin.display
    def question(self, record: Record) -> str:
        return (record.instruction or record.text)[:80]

    @admin.display
    def answer(self, record: Record) -> str:
        return record.response[:80]

    @admin.action(permissions=["change"], description="Approve the chosen rows")
    def approve(self, request: HttpRequest, queryset: QuerySet[Record]) -> None:
        self._decide(request, queryset, "approve", "")

    @admin.action(permissions=["change"], description="Reject the chosen rows (poorly written)")
    def reject(self, request: HttpRequest, queryset: QuerySet[Record]) -> None:
        self._decide(request, queryset, "reject", Review.Reason.QUALITY)

    def _decide(
        self, request: HttpRequest, queryset: QuerySet[Record], verdict: str, reason: str
    ) -> None:
        """Own rows and rows that do not wait are left alone, as on the site."""
        chosen, decided = queryset.count(), 0
        for datanet in Datanet.objects.filter(pk__in=queryset.values("datanet")):
            decided += services.review_all(
                records=queryset,
                datanet=datanet,
                reviewer=signed_in_user(request),
                verdict=verdict,
                reason=reason,
            ).count
        self.message_user(request, f"{decided} rows decided.", messages.SUCCESS)
        if decided < chosen:
            left = f"{chosen - decided} rows left alone: your own, or decided before."
            self.message_user(request, left, messages.WARNING)


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    list_display = ["record", "reviewer", "verdict", "reason", "created_at"]
    list_filter = ["verdict", "reason"]
    list_select_related = ["record", "reviewer"]


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin):
    list_display = ["datanet", "number", "state", "record_count", "merkle_root", "created_at"]
    list_filter = ["state", "datanet"]
    list_select_related = ["datanet"]
    search_fields = ["merkle_root", "manifest_digest", "public_id"]


@admin.register(AccessGrant)
class AccessGrantAdmin(ReadOnlyAdmin):
    list_display = ["datanet", "user", "right", "state", "expires_at"]
    list_filter = ["state", "right"]
    list_select_related = ["datanet", "user"]
