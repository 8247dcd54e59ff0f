"""Spans of an answer in a model's rows: what is withdrawn is gone, and nothing is kept on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from datanets.models import Contribution, Version
from datanets.services import withdraw_contribution
from modelfactory.attribution.spans import TooMuchTextError
from modelfactory.models import Model
from modelfactory.services.verbatim_spans import _cache, verbatim_spans
from openledger_site.accounts.models import User

pytestmark = pytest.mark.django_db
# The package's attribute of this name is the function.
MODULE = sys.modules["modelfactory.services.verbatim_spans"]
ANSWER = "I know. It lays two eggs, and it nests in elms."


@pytest.fixture
def model(make_model: Callable[..., Model]) -> Iterator[Model]:
    _cache.clear()
    yield make_model()
    _cache.clear()


def words(model: Model, answer: str = ANSWER) -> list[str]:
    spans = verbatim_spans(model, question="", answer=answer)
    return [answer[span.start : span.end] for span in spans]


def test_words_of_trained_responses_are_found(model: Model) -> None:
    assert words(model) == ["It lays two eggs"]


def test_the_index_is_made_once_and_asked_about_withdrawals_every_time(model: Model) -> None:
    words(model)
    with CaptureQueriesContext(connection) as queries:
        words(model)
    assert len(queries) == 1


def test_a_withdrawn_row_is_gone_from_the_very_next_search_and_from_memory(
    model: Model, contributor: User
) -> None:
    assert words(model)
    withdraw_contribution(
        contribution=Contribution.objects.get(contributor=contributor), actor=contributor
    )
    assert words(model) == []
    assert words(model, "It nests in elms.") == ["It nests in elms"]
    (kept,) = _cache.values()
    assert "eggs" not in kept.index._words


def test_what_is_kept_is_bounded(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "CACHE_BYTES", 10)
    assert words(model)
    assert not _cache


def test_a_version_with_too_many_words_is_not_searched(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "WORDS_MAX", 10)
    with pytest.raises(TooMuchTextError):
        words(model)


def test_no_text_is_written_to_disk(
    model: Model, version: Version, settings: LazySettings, tmp_path: Path
) -> None:
    words(model)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"two eggs" in path.read_bytes()]
