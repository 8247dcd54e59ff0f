"""What row-level security costs the viewer: whole requests with the policies and without, in turns.

The data and the cases of `bench.viewer`, private, asked by their owner, with `HIDDEN` other private
Datanets that the policies must leave out. `python -m bench.row_security` prints the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from bench.money.cluster import REPOSITORY, temporary_cluster

ROWS = int(os.environ.get("VIEWER_ROWS", "100000"))
ROUNDS = int(os.environ.get("VIEWER_ROUNDS", "20"))
HIDDEN = 1_000


def measure() -> dict[str, Any]:
    with temporary_cluster() as cluster:
        cluster.migrate()
        done = subprocess.run(
            [sys.executable, "-m", "bench.row_security", "inside"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=cluster.environment() | {"VIEWER_ROWS": str(ROWS)},
        )
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return figures


def main() -> None:
    """In a process of the site: load, hide, ask."""
    import django

    django.setup()
    from django.db import connection
    from django.test import Client

    from bench import viewer
    from datanets.models import Datanet
    from datanets.services import create_datanet
    from openledger_site.core.row_security import Reader

    large, small = viewer._load(ROWS)
    version, _ = viewer._cut(large)
    owner = Datanet.objects.get(slug=large).owner
    for number in range(HIDDEN):
        create_datanet(
            owner=owner, name=f"Hidden {number}", description="", licence="MIT",
            visibility="private",
        )  # fmt: skip
    reader = owner.__class__.objects.create_user(email="reader@example.org", password=None)
    Datanet.objects.update(visibility="private")
    for datanet in Datanet.objects.filter(slug__in=[large, small]):
        datanet.memberships.create(user=reader, role="reader")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SELECT word FROM bench_word ORDER BY rank")
        words = [row[0] for row in cursor.fetchall()]
    connection.close()
    client = Client(headers={"host": "localhost"})
    client.force_login(reader, backend="django.contrib.auth.backends.ModelBackend")
    cases, key = viewer._cases(large, small, version, words), Reader.key
    times: dict[str, dict[str, list[float]]] = {name: {"with": [], "without": []} for name in cases}
    for round_ in range(ROUNDS + 1):
        for name, address in cases.items():
            path = address()
            client.get(path)  # so that both find the same pages of the database in memory
            ways: list[tuple[str, Any]] = [("with", key), ("without", lambda reader: None)]
            for way, wanted in ways if round_ % 2 else reversed(ways):
                Reader.key = wanted  # type: ignore[method-assign]
                began = time.perf_counter()
                answer = client.get(path)
                seconds = time.perf_counter() - began
                Reader.key = key  # type: ignore[method-assign]
                if answer.status_code != 200:
                    raise RuntimeError(f"{path} answered {answer.status_code}")
                if round_:
                    times[name][way].append(seconds * 1000)
    print(
        json.dumps(
            {
                "rows": ROWS,
                "hidden_datanets": HIDDEN,
                "requests_a_case": ROUNDS,
                "cases_ms": {
                    name: {
                        f"{way}_{label}": viewer._quantile(values, part)
                        for way, values in ways.items()
                        for label, part in [("p50", 0.5), ("p95", 0.95)]
                    }
                    for name, ways in times.items()
                },
                "cores": os.cpu_count(),
                "load_average": round(os.getloadavg()[1], 1),
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        main()
    else:
        print(json.dumps(measure(), indent=1))
