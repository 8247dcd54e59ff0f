"""Datanets and who may do what in them; contributions, records and reviews; versions."""

from __future__ import annotations

from datanets.models.checks import Finding, PersonalDatum, RecordKey
from datanets.models.contribution import Contribution, Record, Review
from datanets.models.datanet import AccessGrant, Datanet, Membership
from datanets.models.upload import ResumableUpload
from datanets.models.version import Version, VersionRecord

__all__ = [
    "AccessGrant",
    "Contribution",
    "Datanet",
    "Finding",
    "Membership",
    "PersonalDatum",
    "Record",
    "RecordKey",
    "ResumableUpload",
    "Review",
    "Version",
    "VersionRecord",
]
