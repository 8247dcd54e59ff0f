"""Which tables PostgreSQL guards itself (decision 0033): the one list, held to by a test."""

from __future__ import annotations

GUARDED = frozenset(
    {
        "Appeal",
        "Contribution",
        "Finding",
        "GoldRow",
        "PersonalDatum",
        "Record",
        "RecordKey",
        "ResumableUpload",
        "Review",
        "SecondLook",
        "VersionRecord",
    }
)
"""Models that hold the text of rows, or what somebody said about one."""
UNGUARDED = {
    "AccessGrant": "What somebody asked of an owner; policies themselves read it.",
    "DataKey": "A wrapped key, which opens nothing without the operator's secret.",
    "Datanet": "Name and description, hidden by the selectors; policies themselves read it.",
    "DatanetCard": "The owner's words about a Datanet, none of a row.",
    "GoldAnswer": "A verdict, no words.",
    "Membership": "A role, no words; policies themselves read it.",
    "Version": "Counts, hashes and the owner's note.",
    "VersionSummary": "Counts, shown to whoever sees the card.",
}
"""Every other model of this app, and why it needs no policy."""
