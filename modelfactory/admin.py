"""Read-mostly tables for staff: what the database freezes is shown, not edited."""

from __future__ import annotations

from django.contrib import admin

from modelfactory.models import (
    AttributionIndex,
    BaseModel,
    Calibration,
    CalibrationSubset,
    Model,
    Run,
    Valuation,
)
from openledger_site.core.admin import ReadOnlyAdmin


@admin.register(BaseModel)
class BaseModelAdmin(admin.ModelAdmin[BaseModel]):
    list_display = ["slug", "name", "parameter_count", "size_bytes", "licence", "active"]
    readonly_fields = ["public_id", "digest", "source", "parameter_count", "size_bytes"]
    search_fields = ["slug", "name"]


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ["name", "builder", "version", "base", "effort", "state", "created_at"]
    list_select_related = ["builder", "version", "base", "job"]
    list_filter = ["effort", "base"]
    search_fields = ["name", "public_id"]


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin[Model]):
    list_display = ["slug", "name", "owner", "visibility", "published_at"]
    list_select_related = ["owner"]
    list_filter = ["visibility"]
    search_fields = ["slug", "name"]
    readonly_fields = ["public_id", "owner", "run", "base", "adapter_digest", "published_at"]

    def has_add_permission(self, request: object) -> bool:
        return False


@admin.register(AttributionIndex)
class AttributionIndexAdmin(admin.ModelAdmin[AttributionIndex]):
    list_display = ["adapter_digest", "state", "record_count", "size_bytes", "build_seconds"]
    list_select_related = ["job"]

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False


@admin.register(Calibration)
class CalibrationAdmin(admin.ModelAdmin[Calibration]):
    list_display = ["index", "subset_count", "seconds", "created_at", "ready_at"]
    list_select_related = ["index"]

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False


@admin.register(CalibrationSubset)
class CalibrationSubsetAdmin(admin.ModelAdmin[CalibrationSubset]):
    list_display = ["calibration", "position", "job", "adapter_digest", "done_at"]
    list_select_related = ["calibration__index", "job"]

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False


@admin.register(Valuation)
class ValuationAdmin(admin.ModelAdmin[Valuation]):
    list_display = ["index", "repeat_count", "seconds", "created_at", "estimated_at", "ready_at"]
    list_select_related = ["index"]

    def has_add_permission(self, request: object) -> bool:
        return False

    def has_change_permission(self, request: object, obj: object = None) -> bool:
        return False
