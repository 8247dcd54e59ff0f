from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datanets.content import (
    Content,
    Leaf,
    LeafHasher,
    assign_split,
    content_hash,
    leaf_hash,
    plain_words,
    plain_words_of_many,
    prompt_fingerprint,
    row_fingerprint,
)
from datanets.differences import word_differences
from rewards.merkle import MerkleTree, verify_record

texts = st.text(max_size=30)
leaves = st.builds(Leaf, texts, texts, texts, texts, st.sampled_from(["train", "held_out"]))
salted = st.lists(
    st.tuples(leaves, st.binary(min_size=32, max_size=32)), min_size=1, max_size=30, unique=True
)


@given(salted, st.randoms())
def test_the_root_does_not_depend_on_the_order_of_the_rows(rows, chance: random.Random):
    hashes = [leaf_hash(leaf, salt) for leaf, salt in rows]
    shuffled = chance.sample(hashes, len(hashes))
    assert MerkleTree.from_hashes(hashes).root == MerkleTree.from_hashes(shuffled).root


@given(salted, st.data())
def test_each_row_is_proved_and_a_tampered_one_is_not(rows, data):
    hashes = [leaf_hash(leaf, salt) for leaf, salt in rows]
    tree = MerkleTree.from_hashes(hashes)
    at = data.draw(st.integers(0, len(rows) - 1))
    leaf, salt = rows[at]
    assert verify_record(hashes[at], tree.proof(at), tree.root)
    for name in Leaf.__slots__:
        fields = {field: getattr(leaf, field) for field in Leaf.__slots__}
        other = Leaf(**{**fields, name: fields[name] + "x"})
        assert not verify_record(leaf_hash(other, salt), tree.proof(at), tree.root)


@given(texts, texts, texts)
def test_a_hash_tells_apart_what_a_reader_tells_apart(one, two, three):
    split = Content(kind="instruction", instruction=one, response=two + three)
    moved = Content(kind="instruction", instruction=one + two, response=three)
    same = (one, two + three) == (one + two, three)
    assert (content_hash(split) == content_hash(moved)) is same


def test_case_spacing_and_final_marks_make_no_new_row():
    first = Content(kind="instruction", instruction="What is it?", response="A thing.")
    second = Content(kind="instruction", instruction=" what  IS it ", response="a thing")
    assert row_fingerprint(first) == row_fingerprint(second)
    assert prompt_fingerprint(first) == prompt_fingerprint(second)
    assert content_hash(first) != content_hash(second)


@given(st.lists(st.text(min_size=1), unique=True), st.integers(0, 50))
def test_a_prompt_is_always_on_the_same_side(groups, percent):
    once = dict(zip(groups, assign_split(groups, seed="a", held_out_percent=percent), strict=True))
    backwards = groups[::-1]
    again = assign_split(backwards, seed="a", held_out_percent=percent)
    assert [once[group] for group in backwards] == again


def test_the_split_holds_out_about_as_much_as_asked():
    groups = [str(number) for number in range(10_000)]
    split = assign_split(groups, seed="a", held_out_percent=20)
    assert 1_800 < split.count("held_out") < 2_200
    assert set(assign_split(groups, seed="a", held_out_percent=0)) == {"train"}


_WORDS = st.text(st.sampled_from("aB .!?\n\t\x1f\u00a0\u2026\u00c4\u03a3\ufb01"), max_size=12)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_WORDS | st.text(max_size=5), max_size=6))
def test_plain_words_of_many_are_those_of_each(texts):
    texts = [*texts, *(["plain words"] * 62), *texts]
    assert plain_words_of_many(texts) == [plain_words(text) for text in texts]


@given(st.text(), st.text(), st.uuids(), st.binary(min_size=32, max_size=32))
def test_leaves_hashed_together_are_those_of_each(contributor, licence, record, salt):
    one = Leaf(str(record), salt.hex(), contributor, licence, "held_out")
    made = LeafHasher(contributor, licence).hash(str(record), salt.hex(), "held_out", salt)
    assert made == leaf_hash(one, salt)


def test_a_leaf_refuses_a_salt_that_is_gone():
    with pytest.raises(ValueError, match="salt"):
        leaf_hash(Leaf("a", "b", "c", "d", "train"), b"")
    with pytest.raises(ValueError, match="salt"):
        LeafHasher("c", "d").hash("a", "b", "train", b"")


def test_differences_name_what_was_added_and_removed():
    pieces = [(piece.kind, piece.text) for piece in word_differences("a b c", "a x c")]
    assert pieces == [("same", "a"), ("removed", "b"), ("added", "x"), ("same", "c")]
