"""A base is named by the files that make it, not by what is written about it."""

from __future__ import annotations

import pytest

from modelfactory.training.base_files import base_digest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize("name", ["MODEL_CARD.md", ".cache"])
def test_documents_and_hidden_files_do_not_count(folder, name):
    before = base_digest(folder)
    (folder / name).write_text("more")
    assert base_digest(folder) == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_change_of_the_model_does(folder, name):
    before = base_digest(folder)
    (folder / name).write_text("changed")
    assert base_digest(folder) != before


def test_moving_bytes_from_one_file_to_the_next_does(folder):
    before = base_digest(folder)
    (folder / "config.json").write_text("{}w")
    (folder / "model.safetensors").write_bytes(b"eights")
    assert base_digest(folder) != before
