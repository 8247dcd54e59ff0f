"""The intake benchmark measures what it says, at a small size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.ingest import measure_version
from bench.intake.bad_files import BAD_FILES
from bench.intake.cut_uploads import send_through_faults
from bench.intake.refusals import send_bad_files
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


def test_every_kind_of_bad_file_is_refused_in_words(site: Site) -> None:
    figures = send_bad_files(site, seeds=1)
    assert figures["bad_files"] >= 40
    assert not figures["bad_files_5xx"]
    assert not figures["bad_files_unclear"]
    assert max(figures["bad_files_peak_mb"].values()) <= 1_000


def test_a_bad_file_is_the_same_for_the_same_seed() -> None:
    for bad in BAD_FILES:
        if "zip" not in bad.filename and "docx" not in bad.filename:  # those hold the time
            assert bad.content(3) == bad.content(3)


def test_a_version_is_cut_of_rows_as_the_bench_writes_them(site: Site) -> None:
    assert measure_version(site, 300)["version"]["rows"] == 300
