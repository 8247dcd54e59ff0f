"""Adapter folders are strangers' uploads: what does not fit is refused in words."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from modelfactory.serving.adapter_files import CONFIG_FILE, WEIGHTS_FILE, adapter_digest
from modelfactory.serving.adapter_loader import load_adapter
from modelfactory.serving.engine import AdapterInvalidError, AdapterMissingError
from modelfactory.serving.multi_lora import MultiLoRA
from modelfactory.tests.serving.conftest import save_adapter, tiny_model

SHAPES = MultiLoRA(tiny_model()).shapes
QUERY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / save_adapter(tmp_path, "llama", 7)


def load_changed(folder):
    """Load the folder under the digest that its changed files have."""
    digest = adapter_digest(folder)
    shutil.move(folder, folder.parent / digest)
    return load_adapter(folder.parent, digest, SHAPES, 10**7)


def change_config(folder, **changes):
    config = json.loads((folder / CONFIG_FILE).read_text()) | changes
    (folder / CONFIG_FILE).write_text(json.dumps(config))


def change_tensors(folder, change):
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"r": 0},
        {"r": 10_000},
        {"r": True},
        {"lora_alpha": float("nan")},
        {"lora_alpha": "16"},
        {"alpha_pattern": {"(a+)+$": 4}},
    ],
)
def test_a_config_that_is_not_plain_lora_is_refused(folder, changes):
    change_config(folder, **changes)
    with pytest.raises(AdapterInvalidError):
        load_changed(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 100_000, b"\xff"])
def test_a_config_that_is_not_an_object_is_refused(folder, content):
    (folder / CONFIG_FILE).write_bytes(content)
    with pytest.raises(AdapterInvalidError):
        adapter_digest(folder)


def remove(tensors):
    del tensors[QUERY]


def rename(tensors):
    tensors["base_model.model.lm_head.lora_A.weight"] = tensors.pop(QUERY)


def add_bias(tensors):
    tensors[QUERY.replace("lora_A.weight", "bias")] = torch.zeros(3)


def transpose(tensors):
    tensors[QUERY] = tensors[QUERY].T.contiguous()


def make_integer(tensors):
    tensors[QUERY] = tensors[QUERY].to(torch.int32)


def put_nan(tensors):
    tensors[QUERY][0, 0] = float("nan")


def put_huge(tensors):
    tensors[QUERY][0, 0] = 1e30


@pytest.mark.parametrize(
    "change", [remove, rename, add_bias, transpose, make_integer, put_nan, put_huge, dict.clear]
)
def test_weights_that_do_not_fit_the_base_are_refused(folder, change):
    change_tensors(folder, change)
    with pytest.raises(AdapterInvalidError):
        load_changed(folder)


def test_a_file_cut_short_is_refused(folder):
    content = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(AdapterInvalidError, match="cannot be read"):
        load_changed(folder)


def test_a_pickle_is_never_opened(folder):
    (folder / WEIGHTS_FILE).unlink()
    torch.save({}, folder / "adapter_model.bin")
    with pytest.raises(AdapterMissingError):
        load_adapter(folder.parent, folder.name, SHAPES, 10**7)


def test_files_with_another_digest_are_refused(folder):
    change_tensors(folder, lambda tensors: tensors[QUERY].add_(0.01))
    with pytest.raises(AdapterInvalidError, match="another digest"):
        load_adapter(folder.parent, folder.name, SHAPES, 10**7)


def test_an_adapter_over_the_size_limit_is_refused_before_it_is_read(folder):
    with pytest.raises(AdapterInvalidError, match="limit"):
        load_adapter(folder.parent, folder.name, SHAPES, 1000)


@pytest.mark.parametrize("digest", ["../../etc", "", "A" * 64, "a" * 63, "0" * 64])
def test_what_is_not_a_known_digest_is_missing(folder, digest):
    with pytest.raises(AdapterMissingError):
        load_adapter(folder.parent, digest, SHAPES, 10**7)


def test_the_digest_ignores_the_order_of_the_target_modules(folder):
    targets = json.loads((folder / CONFIG_FILE).read_text())["target_modules"]
    change_config(folder, target_modules=sorted(targets, reverse=True))
    assert adapter_digest(folder) == folder.name


@pytest.mark.parametrize("changes", [{"lora_alpha": 17}, {"use_rslora": True}])
def test_the_digest_changes_with_what_the_adapter_computes(folder, changes):
    change_config(folder, **changes)
    assert adapter_digest(folder) != folder.name


@pytest.mark.parametrize("name", ["client", "engine", "adapter_files"])
def test_what_the_site_imports_brings_no_torch_and_no_django(name):
    code = (
        f"import sys, modelfactory.serving.{name};"
        "assert not {'torch', 'transformers', 'peft', 'django'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
