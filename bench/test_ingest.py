"""The intake benchmark measures what it says, at a small size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.intake.cut_uploads import send_through_faults
from bench.intake.site import Site, temporary_site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with temporary_site() as running:
        yield running


def test_a_file_arrives_whole_through_ten_kills_and_cuts(site: Site) -> None:
    for seed in (1, 2):
        ended = send_through_faults(site, faults=5, seed=seed)
        assert ended["kills"] + ended["cuts"] == 5
        assert ended["same"]
