"""What journeys share: one running site, and one walk through all of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.browser import chromium
from e2e.site import Site, make_site
from e2e.walk import Walk


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """One site for all journeys; each makes people and Datanets of its own."""
    with tempfile.TemporaryDirectory(prefix="openledger-e2e-") as name:
        # PostgreSQL drops to a user of its own when started as root.
        Path(name).chmod(0o755)
        running = make_site(Path(name))
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="session")
def walk(site: Site) -> Walk:
    """The whole thread, walked once; what it saw, and the sessions of its people."""
    with chromium() as browser:
        walked = Walk(site, browser).run()
        walked.close()
    return walked
