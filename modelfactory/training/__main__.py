"""One run in its own process: `python -m modelfactory.training FOLDER`.

Reads `recipe.json`, `examples.jsonl` and, if there, `evaluation.jsonl` and `canaries.json` (how
many to measure by what single rows are given away); resumes by itself; prints
one JSON line per event on stdout and never prints example text. Writes `result.json` and
`evaluation_result.jsonl`. Exit status: 0 done, 2 the run cannot be done (the last event says why),
143 stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelfactory.training.recipe import Example, Recipe, RecipeError, read_examples

if TYPE_CHECKING:
    from modelfactory.training.lora import TrainResult

CANARIES = "canaries.json"
STOPPED_STATUS = 128 + signal.SIGTERM
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class _Stop:
    """What SIGTERM does: before and after the training loop it ends the process, inside it asks for
    a stop.
    """

    def __init__(self) -> None:
        self.asked = False
        self.in_loop = False
        signal.signal(signal.SIGTERM, self._signalled)
        signal.signal(signal.SIGINT, self._signalled)

    def _signalled(self, number: int, frame: object) -> None:
        self.asked = True
        if not self.in_loop:
            os._exit(STOPPED_STATUS)


def main() -> int:
    """Run the child process; returns its exit status."""
    parser = argparse.ArgumentParser(description="Train one adapter in FOLDER.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    _die_with_parent()
    stop = _Stop()
    try:
        recipe = Recipe.from_json((folder / "recipe.json").read_text(encoding="utf-8"))
        examples = list(read_examples(folder / "examples.jsonl"))
        evaluation = folder / "evaluation.jsonl"
        rows = list(read_examples(evaluation)) if evaluation.exists() else []
    except (RecipeError, OSError) as error:
        return _failed(error)
    # OpenMP reads its settings when torch is loaded.
    os.environ["OMP_NUM_THREADS"] = str(recipe.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _emit({"event": "loading"})
    return _run(folder, recipe, examples, rows, stop)


def _run(
    folder: Path, recipe: Recipe, examples: Sequence[Example], rows: Sequence[Example], stop: _Stop
) -> int:
    from transformers.utils import logging

    from modelfactory.training.base import BaseError
    from modelfactory.training.lora import StoppedError, train_and_keep

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def on_progress(event: Mapping[str, Any]) -> None:
        if event["event"] != "loading":  # said before torch was imported
            stop.in_loop = True
            _emit(event)

    try:
        result, model, tokenizer = train_and_keep(
            recipe, examples, folder, on_progress, lambda: stop.asked
        )
    except StoppedError as stopped:
        _emit({"event": "stopped", "step": stopped.step})
        return STOPPED_STATUS
    except (RecipeError, BaseError) as error:
        return _failed(error)
    stop.in_loop = False
    if stop.asked:
        return STOPPED_STATUS
    measured = _evaluate(folder, model, tokenizer, rows)
    privacy = _recitation(folder, examples, model, tokenizer)
    del model  # the repeat with canaries needs the memory
    try:
        privacy |= _exposure(folder, recipe, examples, stop)
    except StoppedError:
        return STOPPED_STATUS
    from modelfactory.training.checkpoint import write_atomically

    outcome = {
        "adapter_digest": result.adapter_digest,
        "adapter_folder": result.adapter_folder.name,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        **_figures_of_rows(recipe, result),
        **measured,
        **({"privacy": privacy} if privacy else {}),
    }
    write_atomically(folder / "result.json", json.dumps(outcome, sort_keys=True))
    _emit({"event": "done", "adapter_digest": result.adapter_digest})
    return 0


def _figures_of_rows(recipe: Recipe, result: TrainResult) -> dict[str, Any]:
    """Losses and tokens, which a private run does not tell."""
    if recipe.privacy is not None:
        return {}
    losses = [[step, round(loss, 5)] for step, loss in result.losses]
    return {"tokens": result.tokens, "losses": losses}


def _evaluate(folder: Path, model: Any, tokenizer: Any, rows: Sequence[Example]) -> dict[str, Any]:
    """Figures of the evaluation rows; nothing without rows."""
    if not rows:
        return {}
    from modelfactory.training.checkpoint import write_atomically
    from modelfactory.training.evaluate import evaluate

    found = evaluate(model, tokenizer, rows)
    lines = "".join(json.dumps(row.as_dict(), ensure_ascii=False) + "\n" for row in found)
    write_atomically(folder / "evaluation_result.jsonl", lines)
    figures = {
        "evaluated": len(found),
        "base_exact_match": sum(row.base_correct for row in found) / len(found),
        "tuned_exact_match": sum(row.tuned_correct for row in found) / len(found),
    }
    _emit({"event": "evaluated", **figures})
    return figures


def _recitation(
    folder: Path, examples: Sequence[Example], model: Any, tokenizer: Any
) -> dict[str, Any]:
    """How many rows the model says word by word, where canaries are asked for."""
    if not (folder / CANARIES).exists():
        return {}
    from modelfactory.training.exposure import recitation

    _emit({"event": "probing", "step": 0, "steps": 0})
    return {"recitation": asdict(recitation(model, tokenizer, examples))}


def _exposure(
    folder: Path, recipe: Recipe, examples: Sequence[Example], stop: _Stop
) -> dict[str, Any]:
    """What a repeat of the training gives away of canaries, where they are asked for."""
    if not (folder / CANARIES).exists():
        return {}
    from modelfactory.training.exposure import exposure

    def on_progress(event: Mapping[str, Any]) -> None:
        if event["event"] == "step":
            stop.in_loop = True
            _emit({"event": "probing", "step": event["step"], "steps": event["steps"]})

    count = int(json.loads((folder / CANARIES).read_text())["count"])
    found = exposure(recipe, examples, folder / "repeat", count, on_progress, lambda: stop.asked)
    stop.in_loop = False
    return {"exposure": found.to_json()}


def _emit(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _failed(error: Exception) -> int:
    _emit({"event": "failed", "error": type(error).__name__, "message": str(error)})
    return 2


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the supervisor dies, so that no orphan keeps a core busy."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(STOPPED_STATUS)


if __name__ == "__main__":
    sys.exit(main())
