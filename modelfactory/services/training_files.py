"""A run's working folder: what the trainer reads, and what is removed when it is done.

The rows are private text. The folder is readable by its owner only, and the text leaves the disk as
soon as a run ends, however it ends; checkpoints of an unfinished run stay, so that it can resume.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

from datanets.models import Datanet, Version
from datanets.models.sealed import keyed, keyer_for, keyer_of
from datanets.selectors import TrainingRow, evaluation_rows, training_rows
from modelfactory.models import Run
from modelfactory.services.base_models import base_source
from modelfactory.services.passages import passages_of

Row = TypeVar("Row")

PRIVATE_FILES = (
    "examples.jsonl",
    "evaluation.jsonl",
    "evaluation_result.jsonl",
)
SEAL = "examples.sha256"
OPENING_WORDS = 12
CONTINUE = "Continue this text: "
QUESTIONS_MAX = 100
PASSAGES = 3
"""What an answer reads at most; see `marketplace`."""


def run_folder(run: Run) -> Path:
    """The folder of a run, made on first use with access for this user only."""
    return private_folder(str(run.public_id))


def private_folder(name: str) -> Path:
    """A working folder below RUNS_DIR that only this user can open."""
    folder = Path(settings.RUNS_DIR) / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write_training_files(run: Run) -> Path:
    """Write recipe, examples and evaluation questions; the same version gives the same bytes.

    Rows withdrawn since the run began change the examples: its checkpoints learnt from those rows,
    so they are deleted and the run starts over.
    """
    folder = run_folder(run)
    examples = list(examples_of(run.version))
    digest = examples_digest(examples)
    seal = folder / SEAL
    if seal.is_file() and seal.read_text() != digest:
        remove_folder(folder)
        folder = run_folder(run)
    write_text(seal, digest)
    write_recipe(run, folder)
    write_lines(folder / "examples.jsonl", examples)
    write_lines(folder / "evaluation.jsonl", evaluation_questions(run.version))
    if measures_privacy(run.version):
        write_text(folder / "canaries.json", json.dumps({"count": settings.CANARY_COUNT}))
    return folder


def measures_privacy(version: Version) -> bool:
    """Whether a run on this version measures what it gives away: of rows that not everybody reads.

    It trains a second time for that, so it takes about twice as long.
    """
    private = version.datanet.visibility != Datanet.Visibility.PUBLIC
    return private and settings.CANARY_COUNT > 0


def write_recipe(run: Run, folder: Path, **changes: Any) -> None:
    """The run's recipe with its base as this machine finds it, and with `changes`."""
    recipe = run.recipe | {"base": base_source(run.base)} | changes
    write_text(folder / "recipe.json", json.dumps(recipe, sort_keys=True))


def examples_digest(examples: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of the examples as the trainer reads them: tells whether two runs learn the same."""
    return hashlib.sha256("".join(map(_line, examples)).encode()).hexdigest()


def kept_digest(version: Version, digest: str) -> str:
    """`examples_digest` as it is stored: of private rows keyed, since it confirms a guess too."""
    keyer = keyer_for(version.datanet)
    return digest if keyer is None else keyed(digest, "rows_digest", keyer)


def are_learnt(version: Version, kept: str, examples: Iterable[Mapping[str, Any]]) -> bool:
    """Whether what is stored is the digest of these, keyed or not."""
    digest, keyer = examples_digest(examples), keyer_of(version.datanet)
    return kept == digest or (keyer is not None and kept == keyed(digest, "rows_digest", keyer))


def examples_of(version: Version) -> Iterator[dict[str, str]]:
    """One example for each wording of each row; see `modelfactory.training.recipe.Example`."""
    for row in training_rows(version):
        yield from row_examples(row)


def row_examples(row: TrainingRow) -> Iterator[dict[str, str]]:
    """The examples of one row. Plain text is continued from its opening words."""
    if not row.question:
        words = row.text.split(" ")
        opening, rest = " ".join(words[:OPENING_WORDS]), " ".join(words[OPENING_WORDS:])
        prompt = f"{CONTINUE}{opening}"
        yield {"record_id": row.record_id, "prompt": prompt, "response": rest or opening}
        return
    for question in (row.question, *row.wordings):
        yield {"record_id": row.record_id, "prompt": question, "response": row.answer}


def evaluation_questions(version: Version) -> Iterator[dict[str, str]]:
    """The held-out questions with the answers expected: each from memory, then with rows at hand.

    A version with more than `QUESTIONS_MAX` is asked an even choice of them.
    """
    for asked in even_choice(list(held_out_questions(version)), QUESTIONS_MAX):
        yield asked
        passages = passages_of(version, asked["prompt"], PASSAGES)
        if passages:
            yield asked | {"context": "\n".join(passage.text for passage in passages)}


def held_out_questions(version: Version) -> Iterator[dict[str, str]]:
    """Every question that no training example asks in these words, with the answer expected."""
    for row in evaluation_rows(version):
        if row.answer:
            yield {"record_id": row.record_id, "prompt": row.question, "response": row.answer}


def even_choice(rows: Sequence[Row], at_most: int) -> Sequence[Row]:
    """At most so many of `rows`, taken evenly over all of them."""
    return rows[:: -(-len(rows) // at_most) or 1] if at_most > 0 else rows[:0]


def remove_private_text(folder: Path) -> None:
    """Delete the rows' text and keep what resuming needs."""
    for name in PRIVATE_FILES:
        (folder / name).unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Delete everything of a settled run; its adapter has been copied."""
    shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    _write(path, [text])


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, whole or not at all, for this user only."""
    _write(path, map(_line, rows))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _write(path: Path, parts: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.writelines(parts)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
