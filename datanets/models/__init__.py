"""Datanets and who may do what in them; contributions, records and reviews; versions."""

from __future__ import annotations

from datanets.models.checks import Finding, PersonalDatum, RecordKey
from datanets.models.contribution import Contribution, Record, Review
from datanets.models.datanet import AccessGrant, Datanet, Membership
from datanets.models.quality import Appeal, GoldAnswer, GoldRow, SecondLook
from datanets.models.version import Version, VersionRecord

__all__ = [
    "AccessGrant",
    "Appeal",
    "Contribution",
    "Datanet",
    "Finding",
    "GoldAnswer",
    "GoldRow",
    "Membership",
    "PersonalDatum",
    "Record",
    "RecordKey",
    "Review",
    "SecondLook",
    "Version",
    "VersionRecord",
]
