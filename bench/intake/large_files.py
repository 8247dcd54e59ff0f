"""Files of generated rows, as large as wanted, written as a stream: the same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

VOCABULARY = 20_000
SYLLABLES = ("ka", "lo", "mi", "ren", "tu", "sa", "vor", "del", "ni", "pha", "go", "est")
SENTENCE_WORDS = 12


def rows(count: int, *, answer_words: int, seed: int = 4) -> Iterator[dict[str, str]]:
    """Questions and answers of made-up words; no two rows are alike."""
    drawn = random.Random(seed)
    words = ["".join(drawn.choices(SYLLABLES, k=drawn.randint(1, 4))) for _ in range(VOCABULARY)]
    # Sentences are drawn from a stock: drawing each word anew would take longer than the checks.
    stock = [_sentence(drawn, words) for _ in range(VOCABULARY)]
    sentences = max(1, answer_words // SENTENCE_WORDS)
    for number in range(count):
        question = f"{drawn.choice(stock)[:-1]} {number}?"
        yield {"question": question, "answer": " ".join(drawn.choices(stock, k=sentences))}


def _sentence(drawn: random.Random, words: list[str]) -> str:
    return " ".join(drawn.choices(words, k=SENTENCE_WORDS)).capitalize() + "."


def write_jsonl(path: Path, count: int, *, answer_words: int) -> int:
    """Returns the bytes written."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows(count, answer_words=answer_words):
            file.write(json.dumps(row) + "\n")
    return path.stat().st_size


def write_parquet(path: Path, count: int, *, answer_words: int) -> int:
    """Returns the bytes written: pyarrow's own defaults, so packed by snappy."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("question", pa.string()), ("answer", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        batch: list[dict[str, str]] = []
        for row in rows(count, answer_words=answer_words):
            batch.append(row)
            if len(batch) == 10_000:
                writer.write_table(pa.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema))
    return path.stat().st_size
