"""A checkpoint is whole or does not count."""

from __future__ import annotations

import torch

from modelfactory.training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"a.safetensors": {"w": torch.full((3,), float(step))}}, {"step": step})


def test_the_newest_checkpoint_comes_back_as_it_was_saved(tmp_path):
    for step in (5, 10):
        save_checkpoint(tmp_path, checkpoint(step))
    found = newest_checkpoint(tmp_path)
    assert found.step == 10
    assert found.values == {"step": 10}
    assert torch.equal(found.tensors["a.safetensors"]["w"], torch.full((3,), 10.0))


def test_only_the_last_two_are_kept(tmp_path):
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-15"]


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    for step in (5, 10):
        save_checkpoint(tmp_path, checkpoint(step))
    weights = tmp_path / "step-10" / "a.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert newest_checkpoint(tmp_path).step == 5


def test_a_checkpoint_without_manifest_is_passed_over(tmp_path):
    for step in (5, 10):
        save_checkpoint(tmp_path, checkpoint(step))
    (tmp_path / "step-10" / "manifest.json").unlink()
    assert newest_checkpoint(tmp_path).step == 5


def test_a_half_written_draft_is_no_checkpoint(tmp_path):
    save_checkpoint(tmp_path, checkpoint(5)).rename(tmp_path / "tmp-5")
    assert newest_checkpoint(tmp_path) is None


def test_a_left_over_draft_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "tmp-5").mkdir()
    (tmp_path / "tmp-5" / "junk").write_text("from a killed process")
    save_checkpoint(tmp_path, checkpoint(5))
    assert newest_checkpoint(tmp_path).step == 5
