"""What an adapter thinks of held-out questions, and what its calibration says of groups of records.

Both read a folder with ``spec.json`` and ``questions.jsonl``. Needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelfactory.attribution.calibrate_job import Asker
from modelfactory.attribution.calibration import (
    MICRO,
    Calibration,
    calibration_folder,
    posterior,
)
from modelfactory.attribution.contributor_effects import estimated_effects
from modelfactory.attribution.gradients import log_probabilities
from modelfactory.attribution.index import AttributionIndex
from modelfactory.attribution.job import CalibrationSpec, RetrainedSubset
from modelfactory.attribution.stacked import StackedAdapters
from modelfactory.attribution.worker import token_example
from modelfactory.training.base import load_base
from modelfactory.training.recipe import Example


def question_losses(spec: Mapping[str, Any], questions: Sequence[Example]) -> list[float]:
    """Mean loss (nats per response token) of each question's answer under ``spec["adapter"]``."""
    base, tokenizer = load_base(spec["base"])
    asked = [token_example(tokenizer, one, int(spec["max_length"])) for one in questions]
    with StackedAdapters([Path(spec["adapter"])]).alone(base):
        found = log_probabilities(base, asked)
    return [
        -float(value) / len(example.response_ids)
        for value, example in zip(found, asked, strict=True)
    ]


def estimate_effects(
    spec: Mapping[str, Any], questions: Sequence[Example]
) -> dict[str, tuple[float, float, float]]:
    """Mean, low and high effect of each of ``spec["groups"]``: {name: record ids}.

    Nats per response token, from the linear datamodel of the calibration (Ilyas et al. 2022): the
    effects of a group's records on each answer are summed. Records that the index does not hold
    count nothing. Raises ``ValueError`` for a calibration that does not beat chance.
    """
    folder, adapter = Path(spec["index"]), Path(spec["adapter"])
    index = AttributionIndex(folder)
    calibration = Calibration(calibration_folder(folder.parent, adapter.name))
    if not calibration.fidelity.get("pays"):
        raise ValueError("the calibration predicts retraining no better than chance")
    subsets = [adapter.with_name(digest) for digest in calibration.identity.subsets]
    asker = Asker(
        CalibrationSpec(
            base=spec["base"],
            index=spec["index"],
            adapter=spec["adapter"],
            subsets=tuple(RetrainedSubset(str(path), frozenset()) for path in subsets),
            questions=(),
            kinds=(),
            max_length=int(spec["max_length"]),
        ),
        index,
    )
    everybody = range(len(index))
    scores, unsure = [], []
    for question in questions:
        asked = asker.ask("held out", question)
        found = posterior(
            asked.signals,
            asked.phantom_signals,
            calibration.design,
            calibration.weights,
            asked.log_probabilities_micro,
        )
        nats = MICRO * asker.response_tokens(question)
        scores.append(found.scores / nats)
        unsure.append(np.array(found.deviations(everybody)) / nats)
    place = {record.record_id: at for at, record in enumerate(index.records)}
    groups = {
        name: [place[record_id] for record_id in record_ids if record_id in place]
        for name, record_ids in spec["groups"].items()
    }
    effects = estimated_effects(np.array(scores), np.array(unsure), groups)
    return {name: (one.mean, one.low, one.high) for name, one in effects.items()}
