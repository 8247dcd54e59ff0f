"""Paragraphs of plain text and Markdown as rows."""

from __future__ import annotations

from collections.abc import Iterator

from datanets.parsing.result import Limits
from datanets.parsing.text_lines import ByteSource, read_lines


def read_paragraphs(source: ByteSource, limits: Limits, entry: str) -> Iterator[dict[str, str]]:
    """One row a paragraph (blank lines part them); a long one is cut at sentence ends."""
    held: list[str] = []
    size = 0
    for line in read_lines(source, limits.line_bytes, entry):
        text = line.text.rstrip()
        if text:
            held.append(text)
            size += len(text)
        if held and (not text or size > limits.line_bytes):
            yield from pieces("\n".join(held), limits.chunk_characters)
            held, size = [], 0
    if held:
        yield from pieces("\n".join(held), limits.chunk_characters)


def pieces(paragraph: str, longest: int) -> Iterator[dict[str, str]]:
    """Rows of at most `longest` characters, cut where a sentence ends if there is such a place."""
    start = 0
    while len(paragraph) - start > longest:
        end = _cut(paragraph, start, start + longest)
        if piece := paragraph[start:end].strip():
            yield {"text": piece}
        start = end
    if piece := paragraph[start:].strip():
        yield {"text": piece}


def _cut(text: str, start: int, end: int) -> int:
    """The best place to cut in the second half of the window: sentence, line, word, anywhere."""
    half = (start + end) // 2
    for mark in (". ", "! ", "? ", "\n", " "):
        found = text.rfind(mark, half, end)
        if found > 0:
            return found + len(mark)
    return end
