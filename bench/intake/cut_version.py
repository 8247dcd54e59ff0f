"""`python -m bench.intake.cut_version ROWS`: cut a version of so many approved rows, print figures.

The rows are written by SQL, in the form that an upload gives them: question, answer, six wordings
to train on, two held out, a salt. The cut is the service that the page calls.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import django

HELD_OUT_PERCENT = 10
_ROWS = """
INSERT INTO datanets_record (
    public_id, contribution_id, datanet_id, position, kind, instruction, response, rejected, text,
    messages, wordings, content_hash, fingerprint, prompt_fingerprint, salt, state, flags,
    characters, language, is_sample)
SELECT gen_random_uuid(), %(contribution)s, %(datanet)s, number, 'instruction',
    'What does error number ' || number || ' of module ' || number %% 997 || ' mean?',
    'It means that ' || repeat('the argument was out of its range and ', 4) || number,
    '', '', '[]',
    jsonb_build_object('own', '[]'::jsonb,
        'training', (SELECT jsonb_agg(words || ' error number ' || number || ' of module '
                                      || number %% 997 || '?')
                     FROM unnest(ARRAY['Explain', 'Define', 'Describe', 'What is', 'Tell me about',
                                       'Say what is meant by']) AS words),
        'held_out', jsonb_build_array('Meaning of error number ' || number || '?',
                                      'In short, error number ' || number || ' is what?')),
    encode(sha256(('c' || number)::bytea), 'hex'), encode(sha256(('f' || number)::bytea), 'hex'),
    encode(sha256(('p' || number)::bytea), 'hex'), sha256(('s' || number)::bytea), 'approved', '[]',
    250, 'en', false
FROM generate_series(1, %(rows)s) AS number
"""


def main() -> None:
    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    datanet = _write_rows(int(sys.argv[1]))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE datanets_record")
        cursor.execute("SET statement_timeout = '60s'")  # as the site has it
    print(json.dumps(_cut(datanet)))


def _write_rows(rows: int) -> Any:
    from django.db import connection

    from datanets.models import Contribution
    from datanets.services import create_datanet
    from openledger_site.accounts.models import User

    owner = User.objects.create_user(f"cut{rows}@example.org", display_name="Cutter")
    datanet = create_datanet(
        owner=owner, name=f"Cut {rows}", description="", licence="PSF-2.0", visibility="public"
    )
    contribution = Contribution.objects.create(
        datanet=datanet, contributor=owner, title="Rows", file_digest="0" * 64, size_bytes=1,
        licence="PSF-2.0", agreement_version="1", rows_read=rows, rows_accepted=rows,
        state=Contribution.State.DECIDED,
    )  # fmt: skip
    with connection.cursor() as cursor:
        named = {"contribution": contribution.pk, "datanet": datanet.pk, "rows": rows}
        cursor.execute(_ROWS, named)
    return datanet


def _cut(datanet: Any) -> dict[str, Any]:
    from datanets.services import cut_version

    before, server = _peak_mb(), _server_seconds()
    started, used = time.perf_counter(), time.process_time()
    version = cut_version(datanet=datanet, actor=datanet.owner, held_out_percent=HELD_OUT_PERCENT)
    return {
        "rows": version.record_count,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "server_cpu_seconds": round(_server_seconds() - server, 1),
        "peak_mb": round(_peak_mb()),
        "peak_mb_before": round(before),
    }


def _server_seconds() -> float:
    """Processor seconds of the server's process for this connection; both are on this machine."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


if __name__ == "__main__":
    main()
