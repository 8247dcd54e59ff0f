"""Anybody recomputes an epoch from its public list: root, total, and who got what in between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from rewards.chain.contracts import Addresses
from rewards.leaf_lists import paid_between, read_leaf_list
from rewards.merkle import checksummed
from rewards.services.epoch_books import LeafFile

ADDRESSES = [checksummed(f"0x{number:040x}") for number in range(1, 9)]
AT = "0x" + "11" * 20
PLACE = Addresses(31337, AT, AT, AT, AT, 0, "", "")


def leaf_list(epoch: int, amounts: Mapping[str, int]) -> bytes:
    """As the site writes it."""
    return b"".join(LeafFile(epoch, PLACE)._chunks(sorted(amounts.items())))


def test_root_and_total_follow_from_the_leaves() -> None:
    written = LeafFile(3, PLACE)
    content = b"".join(written._chunks(sorted({ADDRESSES[0]: 5, ADDRESSES[1]: 7}.items())))
    found = read_leaf_list(content)
    assert (found.root, found.total_wei, found.epoch) == (written.root, 12, 3)
    assert not found.problems


def test_a_list_that_was_changed_says_so() -> None:
    document = json.loads(leaf_list(3, {ADDRESSES[0]: 5, ADDRESSES[1]: 7}))
    document["leaves"][0][1] = "6"
    problems = read_leaf_list(json.dumps(document).encode()).problems
    assert len(problems) == 2
    assert "the list says 12" in problems[1]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"leaves": [["x", 1]]}', b"\xff"])
def test_what_is_no_list_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(ValueError, match="not the leaf list of an epoch"):
        read_leaf_list(content)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(ADDRESSES), st.integers(1, 10**30), min_size=1),
        min_size=2,
        max_size=12,
    )
)
def test_a_year_of_lists_gives_back_every_payment(epochs: list[dict[str, int]]) -> None:
    total: dict[str, int] = {}
    lists = []
    for number, paid in enumerate(epochs, 1):
        for account, wei in paid.items():
            total[account] = total.get(account, 0) + wei
        lists.append(read_leaf_list(leaf_list(number, total)))
    for paid, earlier, later in zip(epochs[1:], lists, lists[1:], strict=False):
        assert paid_between(later, earlier) == paid


def test_an_amount_that_fell_is_named() -> None:
    earlier = read_leaf_list(leaf_list(1, {ADDRESSES[0]: 5, ADDRESSES[1]: 7}))
    for amounts in ({ADDRESSES[0]: 4, ADDRESSES[1]: 9}, {ADDRESSES[1]: 9}):
        with pytest.raises(ValueError, match=f"{ADDRESSES[0]} has less"):
            paid_between(read_leaf_list(leaf_list(2, amounts)), earlier)
    with pytest.raises(ValueError, match="not of an earlier epoch"):
        paid_between(earlier, earlier)


def test_the_command_says_who_was_paid(tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    first.write_bytes(leaf_list(1, {ADDRESSES[0]: 5}))
    second.write_bytes(leaf_list(2, {ADDRESSES[0]: 5, ADDRESSES[1]: 7}))
    said = StringIO()
    root = read_leaf_list(second.read_bytes()).root
    call_command("verify_epoch", second, first, f"--root={root}", stdout=said)
    found = json.loads(said.getvalue())
    assert found["ok"]
    assert found["paid_wei"] == {ADDRESSES[1]: "7"}


def test_the_command_fails_on_another_root_and_on_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    path.write_bytes(leaf_list(1, {ADDRESSES[0]: 5}))
    with pytest.raises(CommandError, match="another one"):
        call_command("verify_epoch", path, f"--root=0x{'00' * 32}", stdout=StringIO())
    with pytest.raises(CommandError, match=r"none\.json"):
        call_command("verify_epoch", tmp_path / "none.json", stdout=StringIO())
