"""Policies of row-level security: the net under the selectors (decision 0033).

They are for reading (and for what a change must read to find its rows), and apply to the role that
the web process takes for a request. The tables' owner is not bound by them: workers, commands and
dumps see all. No policy names the role, so that a dump can be restored where there is none.
"""

from __future__ import annotations

from django.db import migrations

MAKE_READER = """
CREATE FUNCTION openledger_reader() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('openledger.reader', true), '')::bigint
$$
"""

# Not public, and neither a role that reads nor a grant that does. As `selectors.access.readable_by`
# has it. Written so that PostgreSQL may ask it of one Datanet, or list them all once and look them
# up, whichever costs less.
HIDDEN = """
SELECT FROM datanets_datanet AS datanet
WHERE {outer} AND datanet.visibility <> 'public'
  AND NOT EXISTS (
    SELECT FROM datanets_membership AS member
    WHERE member.datanet_id = datanet.id AND member.user_id = openledger_reader()
      AND member.role IN ('owner', 'curator', 'reviewer', 'reader'))
  AND NOT EXISTS (
    SELECT FROM datanets_accessgrant AS access
    WHERE access.datanet_id = datanet.id AND access.user_id = openledger_reader()
      AND access."right" = 'read' AND access.state = 'granted'
      AND (access.expires_at IS NULL OR access.expires_at > statement_timestamp()))
"""
OWN = """contribution_id IN (
    SELECT own.id FROM datanets_contribution AS own WHERE own.contributor_id = openledger_reader())
"""
OF_A_RECORD = "EXISTS (SELECT FROM datanets_record AS record WHERE record.id = record_id)"

POLICIES = {
    "contribution": "NOT EXISTS ({}) OR contributor_id = openledger_reader()".format(
        HIDDEN.format(outer="datanet.id = datanet_id")
    ),
    "record": "NOT EXISTS ({}) OR {}".format(HIDDEN.format(outer="datanet.id = datanet_id"), OWN),
    "personaldatum": OWN,
    "resumableupload": "owner_id = openledger_reader()",
    # A version's entries by their version, of which there are few; one's own rows besides.
    "versionrecord": """NOT EXISTS (
            SELECT FROM datanets_version AS version
            WHERE version.id = version_id AND EXISTS ({})
        ) OR EXISTS (
            SELECT FROM datanets_record AS record
            JOIN datanets_contribution AS own ON own.id = record.contribution_id
            WHERE record.id = record_id AND own.contributor_id = openledger_reader()
        )""".format(  # noqa: S608 # constants
        HIDDEN.format(outer="datanet.id = version.datanet_id")
    ),
    **dict.fromkeys(
        ["finding", "recordkey", "review", "goldrow", "appeal", "secondlook"], OF_A_RECORD
    ),
}


def switch_on(table: str, condition: str) -> migrations.RunSQL:
    name = f"datanets_{table}"
    return migrations.RunSQL(
        [
            f"CREATE POLICY readers ON {name} FOR SELECT USING ({condition})",
            f"CREATE POLICY writers_insert ON {name} FOR INSERT WITH CHECK (true)",
            f"CREATE POLICY writers_update ON {name} FOR UPDATE USING (true)",
            f"CREATE POLICY writers_delete ON {name} FOR DELETE USING (true)",
            f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        ],
        [
            f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY",
            f"DROP POLICY readers ON {name}",
            f"DROP POLICY writers_insert ON {name}",
            f"DROP POLICY writers_update ON {name}",
            f"DROP POLICY writers_delete ON {name}",
        ],
    )


class Migration(migrations.Migration):
    dependencies = [("datanets", "0011_provenance")]

    operations = [
        migrations.RunSQL(MAKE_READER, "DROP FUNCTION openledger_reader()"),
        *[switch_on(table, condition) for table, condition in POLICIES.items()],
    ]
