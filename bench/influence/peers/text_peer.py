"""Peers without gradients: BM25, character n-grams, hidden states, and chance as the floor."""

from __future__ import annotations

from typing import Any

import bm25s
import numpy as np
import numpy.typing as npt
import torch
from common import (  # type: ignore[import-not-found]
    IGNORED,
    Answer,
    AnswerLoss,
    Clock,
    Exchange,
    Sequences,
    answer,
    read_exchange,
)
from sklearn.feature_extraction.text import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    TfidfVectorizer,
)
from torch import Tensor

FORWARD_BATCH = 32
SEED = 0


def best_of_record(exchange: Exchange, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[questions, records]: likeness to a record is that to its nearest example, not to all."""
    best = np.full((len(scores), int(exchange.spec["records"])), -np.inf)
    np.maximum.at(best.T, exchange.record_of, scores.T)
    return best


def bm25(exchange: Exchange) -> Answer:
    """BM25 with bm25s' own defaults; summed as evidence, and the best example as a second one."""
    clock = Clock()
    texts = exchange.examples.texts
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    index = clock.read()
    questions = bm25s.tokenize(exchange.questions.texts, return_ids=False, show_progress=False)
    scores = np.stack([retriever.get_scores(words) for words in questions]).astype(np.float64)
    settings = {
        "sum of examples": exchange.by_record(scores),
        "best example": best_of_record(exchange, scores),
    }
    stored = sum(retriever.scores[name].nbytes for name in ("data", "indices", "indptr"))
    note = "Lucene scoring, English stop words, no stemmer: the package's defaults"
    return Answer(settings, index, clock.read(), stored // len(texts), note)


def tfidf(exchange: Exchange) -> Answer:
    """Cosine of character n-grams inside words: names and numbers share no whole words."""
    clock = Clock()
    texts = exchange.examples.texts
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    train = vectorizer.fit_transform(texts)
    index = clock.read()
    scores = (vectorizer.transform(exchange.questions.texts) @ train.T).toarray()
    settings = {"2 to 4 characters": best_of_record(exchange, scores)}
    stored = train.data.nbytes + train.indices.nbytes + train.indptr.nbytes
    note = "rows are of unit length; the nearest example speaks for its record"
    return Answer(settings, index, clock.read(), int(stored) // len(texts), note)


def hidden_states(net: AnswerLoss, sequences: Sequences) -> Tensor:
    """One row a sequence: the mean last hidden state over its response tokens, of length one."""
    rows = []
    for start in range(0, len(sequences), FORWARD_BATCH):
        part = slice(start, start + FORWARD_BATCH)
        states = net.tuned(
            input_ids=sequences.ids[part],
            attention_mask=sequences.mask[part].long(),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states[-1]
        said = (sequences.labels[part] != IGNORED).unsqueeze(-1)
        rows.append((states * said).sum(dim=1) / said.sum(dim=1))
    return torch.nn.functional.normalize(torch.cat(rows), dim=1)


@torch.no_grad()
def hidden(exchange: Exchange) -> Answer:
    """Cosine of what the tuned model makes of two responses."""
    net = AnswerLoss(exchange)
    clock = Clock()
    train = hidden_states(net, exchange.examples)
    index = clock.read()
    test = hidden_states(net, exchange.questions)
    scores = (test @ train.T).numpy().astype(np.float64)
    settings = {"last layer": best_of_record(exchange, scores)}
    note = "after the final norm; the nearest example speaks for its record"
    return Answer(settings, index, clock.read(), 4 * train.shape[1], note)


def chance(exchange: Exchange) -> Answer:
    """What any method must beat."""
    clock = Clock()
    shape = (len(exchange.questions), int(exchange.spec["records"]))
    drawn: Any = np.random.default_rng(SEED).standard_normal(shape)
    return Answer({f"seed {SEED}": drawn}, 0.0, clock.read(), 0, "drawn, not measured")


def main() -> None:
    torch.manual_seed(SEED)
    exchange = read_exchange()
    answer(exchange, "bm25", "bm25s", lambda: bm25(exchange))
    answer(exchange, "tfidf", "scikit-learn", lambda: tfidf(exchange))
    answer(exchange, "hidden", "transformers", lambda: hidden(exchange))
    answer(exchange, "random", "numpy", lambda: chance(exchange))


if __name__ == "__main__":
    main()
