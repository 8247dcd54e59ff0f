"""A receipt replays to its own figures, and each figure that was touched is found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.test import Client

from marketplace import receipts
from marketplace.models import Inference, Receipt
from marketplace.tests.conftest import World
from openledger_site.accounts.models import User

pytestmark = pytest.mark.django_db
KEY = receipts.signing_key("a-secret-key-of-the-tests")
PUBLIC = KEY.public_key().public_bytes_raw().hex()


@pytest.fixture
def receipt(settled: Inference, payer: User, as_user: Callable[[User], Client]) -> dict[str, Any]:
    """As it is downloaded."""
    answer = as_user(payer).get(f"/marketplace/answers/{settled.public_id}/receipt.json")
    return dict(answer.json())


def index(world: World) -> Path:
    return world.folder / "attribution" / world.adapter_digest


def test_a_receipt_replays_with_its_index(receipt: dict[str, Any], world: World) -> None:
    result = receipts.verify(receipt, index_folder=index(world), public_key=PUBLIC)
    assert result.problems == []
    assert result.skipped == ["words of verbatim spans: they need the rows' text"]
    for name in ("digest", "signature", "fee", "record shares", "scores from the index"):
        assert name in result.checked


def test_without_the_index_it_says_what_it_could_not_replay(receipt: dict[str, Any]) -> None:
    result = receipts.verify(receipt)
    assert result.ok
    assert any(line.startswith("scores") for line in result.skipped)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each figure and word of a document."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from leaves(inner, (*path, place))
    else:
        yield path


def planted(document: Any, path: tuple[Any, ...]) -> dict[str, Any]:
    """A copy with another value of the same kind at `path`."""
    changed = copy.deepcopy(document)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = _another(inner[path[-1]])
    return dict(changed)


def _another(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        # A price of one wei more a thousand tokens gives the same fee, rightly: plant a large one.
        return str(int(value) + 10**9) if value.isdecimal() else value[:-1] + "z"
    return ["planted"] if isinstance(value, list) else {"planted": 1}


def finds(receipt: dict[str, Any], **given: Any) -> bool:
    try:
        return bool(receipts.verify(receipt, public_key=PUBLIC, **given).problems)
    except ValueError:
        return True


def test_each_planted_change_of_any_field_is_found(receipt: dict[str, Any]) -> None:
    paths = [path for path in leaves(receipt) if path != ("public_key",)]
    assert len(paths) > 60
    missed = [path for path in paths if not finds(planted(receipt, path))]
    assert missed == []


def resealed(receipt: dict[str, Any]) -> dict[str, Any]:
    """What a dishonest site could make: other figures under its own valid signature."""
    digest = receipts.digest_of(receipt["body"])
    return receipt | {"digest": digest, "signature": receipts.sign(digest, KEY)}


REPLAYED = ("usage", "price", "fee_wei", "split", "contributors", "record_parts", "owner_parts")


def test_a_figure_that_does_not_follow_from_the_others_is_found_under_a_valid_signature(
    receipt: dict[str, Any],
) -> None:
    paths = [p for p in leaves(receipt) if p[0] == "body" and set(p) & set(REPLAYED)]
    changed = [resealed(planted(receipt, path)) for path in paths]
    missed = [path for path, each in zip(paths, changed, strict=True) if not finds(each)]
    assert missed == []


def test_a_score_that_the_index_does_not_give_is_found_under_a_valid_signature(
    receipt: dict[str, Any], world: World
) -> None:
    paths = [p for p in leaves(receipt) if p[-1] in ("score", "threshold", "values")]
    assert paths
    changed = [resealed(planted(receipt, path)) for path in paths]
    assert [finds(each, index_folder=index(world)) for each in changed] == [True] * len(paths)


def test_a_signature_by_another_key_is_found(receipt: dict[str, Any]) -> None:
    other = receipts.signing_key("another secret")
    forged = receipt | {"signature": receipts.sign(receipt["digest"], other)}
    forged["public_key"] = other.public_key().public_bytes_raw().hex()
    assert receipts.verify(forged, public_key=PUBLIC).problems


def test_the_database_keeps_receipts_as_they_were(settled: Inference) -> None:
    for change in (lambda r: r.update(digest="0" * 64), lambda r: r.delete()):
        with pytest.raises(DatabaseError), transaction.atomic():
            change(Receipt.objects.all())


def command(path: Path, *options: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("verify_receipt", str(path), *options, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_says_that_a_receipt_holds(receipt: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt))
    status, words = command(path)
    assert (status, "The receipt holds." in words) == (0, True)


def test_the_command_names_what_is_wrong_and_ends_with_1(
    receipt: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(planted(receipt, ("body", "fee_wei"))))
    status, words = command(path, "--json")
    assert (status, json.loads(words)["ok"]) == (1, False)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"body": 1}', '{"body": {"schema": 3}}', '{"body": {}}']
)
def test_the_command_refuses_what_is_not_a_receipt(tmp_path: Path, content: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(content)
    with pytest.raises(CommandError):
        call_command("verify_receipt", str(path))
