"""Rows as JSON, for programs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from datanets.models import Contribution, Datanet, ResumableUpload, Version
from datanets.provenance import provenance_of


class DatanetSerializer(serializers.ModelSerializer[Datanet]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    url = serializers.CharField(source="get_absolute_url", read_only=True)

    class Meta:
        model = Datanet
        fields = [
            "id",
            "slug",
            "name",
            "description",
            "guidelines",
            "visibility",
            "licence",
            "left_out_rules",
            "created_at",
            "url",
        ]
        read_only_fields = ["slug", "created_at"]


class ContributionSerializer(serializers.ModelSerializer[Contribution]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    datanet = serializers.SlugRelatedField[Datanet](slug_field="slug", read_only=True)
    job = serializers.UUIDField(source="job_id", read_only=True)
    provenance = serializers.SerializerMethodField()
    expires_at = serializers.DateTimeField(read_only=True)
    url = serializers.CharField(source="get_absolute_url", read_only=True)

    class Meta:
        model = Contribution
        fields = [
            "id",
            "datanet",
            "title",
            "state",
            "licence",
            "provenance",
            "file_digest",
            "size_bytes",
            "rows_read",
            "rows_accepted",
            "rows_rejected",
            "report",
            "job",
            "expires_at",
            "created_at",
            "url",
        ]

    def get_provenance(self, contribution: Contribution) -> dict[str, Any]:
        return provenance_of(contribution)


class ResumableUploadSerializer(serializers.ModelSerializer[ResumableUpload]):
    id = serializers.UUIDField(source="public_id", read_only=True)

    class Meta:
        model = ResumableUpload
        fields = ["id", "filename", "size_bytes", "offset_bytes", "digest", "expires_at"]


class VersionSerializer(serializers.ModelSerializer[Version]):
    id = serializers.UUIDField(source="public_id", read_only=True)
    datanet = serializers.SlugRelatedField[Datanet](slug_field="slug", read_only=True)
    anchor = serializers.SerializerMethodField()
    url = serializers.CharField(source="get_absolute_url", read_only=True)

    class Meta:
        model = Version
        fields = [
            "id",
            "datanet",
            "number",
            "state",
            "merkle_root",
            "manifest_digest",
            "record_count",
            "train_count",
            "held_out_percent",
            "note",
            "anchor",
            "created_at",
            "url",
        ]

    def get_anchor(self, version: Version) -> dict[str, Any] | None:
        return version.anchor.as_dict() if version.anchor else None
