"""Datanets and who may do what in them; contributions, records and reviews; versions."""

from __future__ import annotations

from datanets.models.card import DatanetCard
from datanets.models.checks import Finding, PersonalDatum, RecordKey
from datanets.models.contribution import Contribution, Record, Review
from datanets.models.data_key import DataKey
from datanets.models.datanet import AccessGrant, Datanet, Membership
from datanets.models.quality import Appeal, GoldAnswer, GoldRow, SecondLook
from datanets.models.upload import ResumableUpload
from datanets.models.version import Version, VersionRecord, VersionSummary

__all__ = [
    "AccessGrant",
    "Appeal",
    "Contribution",
    "DataKey",
    "Datanet",
    "DatanetCard",
    "Finding",
    "GoldAnswer",
    "GoldRow",
    "Membership",
    "PersonalDatum",
    "Record",
    "RecordKey",
    "ResumableUpload",
    "Review",
    "SecondLook",
    "Version",
    "VersionRecord",
    "VersionSummary",
]
