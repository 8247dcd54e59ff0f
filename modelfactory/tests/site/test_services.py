"""Retrieval, base models, the engine's command line, and a web process without torch."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.conf import settings as django_settings
from django.core.management import call_command

from datanets.models import Record, Version
from modelfactory.models import BaseModel, Model
from modelfactory.services import (
    NoIndex,
    UnreadableBase,
    attribute_answer,
    passages_about,
    read_base_folder,
    retrieve_passages,
    sync_base_models,
    time_in_words,
)
from modelfactory.services.estimate import needed_bytes
from modelfactory.services.passages import _corpora
from modelfactory.services.training_files import run_folder, write_training_files
from modelfactory.training.recipe import Recipe, read_examples

MakeModel = Callable[..., Model]


def make_base_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    config = {"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 10}
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    tensor = {"dtype": "F16", "shape": [10, 8], "data_offsets": [0, 160]}
    header = json.dumps({"__metadata__": {}, "embed": tensor}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(160)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "MODEL_CARD.md").write_text("---\nlicense: MIT\n---\n# Small bird\n\nReads facts.\n")
    return folder


def test_a_base_folder_says_its_size_without_torch(tmp_path: Path) -> None:
    facts = read_base_folder(make_base_folder(tmp_path / "small"))
    assert (facts.parameter_count, facts.context_tokens, facts.vocabulary_size) == (80, 64, 10)
    assert (facts.name, facts.licence, facts.description) == ("Small bird", "MIT", "Reads facts.")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_incomplete_base_folder_is_refused(tmp_path: Path, missing: str) -> None:
    folder = make_base_folder(tmp_path / "small")
    (folder / missing).unlink()
    with pytest.raises(UnreadableBase):
        read_base_folder(folder)


def test_syncing_registers_shipped_bases_once_and_a_changed_one_anew(
    db: None, settings: LazySettings, tmp_path: Path
) -> None:
    settings.BASE_MODELS_DIR, settings.BASE_MODEL = tmp_path, "small"
    folder = make_base_folder(tmp_path / "small")
    assert sync_base_models() == sync_base_models()
    (folder / "generation_config.json").write_text('{"max_length": 7}')
    sync_base_models()
    assert list(BaseModel.objects.order_by("pk").values_list("active", flat=True)) == [False, True]


def test_a_hub_id_is_registered_by_its_name(
    db: None, settings: LazySettings, tmp_path: Path
) -> None:
    settings.BASE_MODELS_DIR, settings.BASE_MODEL = tmp_path, "some-org/some-model"
    call_command("sync_base_models", stdout=StringIO())
    assert BaseModel.objects.get().source == "some-org/some-model"


def test_the_engine_command_names_base_adapters_and_address(settings: LazySettings) -> None:
    settings.ENGINE_URL = "http://127.0.0.1:8600"
    out = StringIO()
    call_command("engine_command", json=True, stdout=out)
    command = json.loads(out.getvalue())
    assert command["args"][1:3] == ["-m", "modelfactory.serving"]
    assert command["args"][command["args"].index("--listen") + 1] == "127.0.0.1:8600"
    assert command["env"]["ENGINE_TOKEN"] == settings.ENGINE_TOKEN


def test_the_best_fitting_rows_are_found_for_a_question(make_model: MakeModel) -> None:
    found = retrieve_passages(make_model(), "How heavy is a wren, in grams?", 2)
    assert found[0].text == "Q: What is known about the wren? A: It weighs ten grams."
    assert len(found) <= 2


@pytest.mark.parametrize(
    ("question", "about"),
    [("How heavy is a wren, in grams?", True), ("What is known about the wren?", True),
     ("What is known about the robin?", False), ("Is it?", False)],
)  # fmt: skip
def test_a_row_is_about_a_question_when_it_holds_its_rare_words(
    make_model: MakeModel, question: str, about: bool
) -> None:
    model = make_model()
    found = passages_about(model, question, retrieve_passages(model, question, 3))
    assert bool(found) == about
    assert all("wren" in passage.text for passage in found)


def test_a_withdrawn_row_is_never_retrieved(make_model: MakeModel) -> None:
    model = make_model()
    _corpora.clear()
    before = retrieve_passages(model, "wren grams", 1)
    Record.objects.filter(public_id=before[0].record_id).update(state="withdrawn")
    after = retrieve_passages(model, "wren grams", 3)
    assert before[0].record_id not in {passage.record_id for passage in after}
    (kept,) = _corpora.values()
    assert not any("grams" in text for text in kept[1].texts), "kept in memory"


def test_the_trainer_reads_every_wording_and_asks_each_question_twice(
    run: object, version: Version
) -> None:
    folder = write_training_files(run)  # type: ignore[arg-type]
    examples = list(read_examples(folder / "examples.jsonl"))
    asked = list(read_examples(folder / "evaluation.jsonl"))
    assert len({example.record_id for example in examples}) == 5
    assert len(examples) >= 5 * 4
    assert [bool(row.passages) for row in asked] == [False, True] * (len(asked) // 2)
    assert {row.prompt for row in asked}.isdisjoint(example.prompt for example in examples)
    assert Recipe.from_json((folder / "recipe.json").read_text()).base == "small"


def test_private_text_is_kept_from_other_users_of_the_machine(run: object) -> None:
    folder = write_training_files(run)  # type: ignore[arg-type]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "examples.jsonl").stat().st_mode & 0o777 == 0o600


def test_checkpoints_that_learnt_a_withdrawn_row_are_deleted(run: object) -> None:
    folder = write_training_files(run)  # type: ignore[arg-type]
    (folder / "checkpoints").mkdir()
    row = Record.objects.order_by("pk")[0]
    Record.objects.filter(pk=row.pk).update(state="withdrawn")
    write_training_files(run)  # type: ignore[arg-type]
    assert not (run_folder(run) / "checkpoints").exists()  # type: ignore[arg-type]


def test_without_an_index_an_answer_is_not_attributed(make_model: MakeModel) -> None:
    with pytest.raises(NoIndex):
        attribute_answer(make_model(), "e" * 64, [{"role": "user", "content": "Why?"}], [2])


def test_more_rows_at_a_time_need_more_memory(base: BaseModel) -> None:
    small = needed_bytes(base, batch_size=8, max_length=128, rank=8)
    assert needed_bytes(base, batch_size=16, max_length=128, rank=8) > small


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (40, "about 30 to 60 seconds"),
        (120, "about 2 to 3 minutes"),
        (7200, "about 2 to 3 hours"),
    ],
)
def test_time_is_said_as_a_range(seconds: float, words: str) -> None:
    assert time_in_words(seconds) == words


def test_no_web_process_loads_torch() -> None:
    script = (
        "import django; django.setup(); import openledger_site.urls, modelfactory.jobs, sys;"
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=django_settings.BASE_DIR,
    )
    assert found.stdout.strip().endswith("[]")
