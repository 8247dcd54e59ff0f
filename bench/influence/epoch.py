"""What contributors are paid in an epoch: every wording of every record is asked once.

Two or three answers for each contributor, as the yardstick has them, are few: one that goes to
somebody else moves a third of the pay. People are paid for all answers of an epoch together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.influence.bank import FULL, read_world
from bench.influence.contributors import pay_of
from bench.influence.exchange import read_questions, write_questions
from bench.influence.ours import Seeds, ask
from datanets.wordings import held_out_wordings

Float64 = npt.NDArray[np.float64]


def epoch_questions(folder: Path) -> list[dict[str, Any]]:
    """Trained wordings and rewordings of all rows but noise, with the first model's answers.

    As lines of the exchange. Questions that the calibration was fitted to are left out.
    """
    path = folder / "epoch.jsonl"
    if not path.exists():
        _write_answers(folder, path)
    return read_questions(path)


def _write_answers(folder: Path, path: Path) -> None:
    from peft import PeftModel

    from modelfactory.training.base import load_base
    from modelfactory.training.base_files import SHIPPED_BASE
    from modelfactory.training.chat import messages_for
    from modelfactory.training.evaluate import answers

    world = read_world(folder)
    fitted = {question.text for question in world.questions if not question.reported}
    texts = [
        text
        for row in world.rows
        if row.origin != "noise"
        for text in [*row.wordings(), *(one.text for one in held_out_wordings(row.question))]
        if text not in fitted
    ]
    base, tokenizer = load_base(SHIPPED_BASE)
    model = PeftModel.from_pretrained(base, folder / "runs" / FULL / "adapter")
    said = answers(model, tokenizer, [messages_for(text) for text in texts])
    write_questions(path, tokenizer, texts, said)


def epoch_pay(folder: Path, seeds: Seeds) -> Float64:
    """[contributors]: shares of the epoch's fees, by scores whose index is there already."""
    scores, thresholds = ask(folder, seeds, epoch_questions(folder))
    return pay_of(read_world(folder), np.maximum(scores - thresholds[:, None], 0))
