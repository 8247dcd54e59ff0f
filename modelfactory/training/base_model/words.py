"""Real words and sentences, from the docstrings of the Python standard library (PSF licence).

Names of the corpus that the demo teaches are kept out: exceptions, HTTP statuses, errno names,
signals and Unicode names. Whatever the base knows about those, it did not learn here.
"""

from __future__ import annotations

import ast
import builtins
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EXCLUDED_MODULES = frozenset(
    {
        "http",
        "errno",
        "signal",
        "unicodedata",
        "builtins",
        "exceptions",
        "test",
        "tests",
        "idlelib",
        "lib2to3",
    }
    | {
        "site-packages",
        "pydoc_data",
        "turtledemo",
        "ensurepip",
        "this.py",
        "encodings",
        "antigravity.py",
    }
)
_EXCEPTION_NAMES = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,'_()-]{12,110}[a-z)]\.")
_WORD = re.compile(r"\b[a-z]{3,11}\b")
_NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


@dataclass(frozen=True)
class Words:
    """Raw material of the generator, each list sorted so that one Python version always gives the
    same.
    """

    plain: tuple[str, ...]  # lower-case words, commonest first
    sentences: tuple[str, ...]  # one-line sentences of 4 to 18 words with their full stop
    paragraphs: tuple[str, ...]  # docstring paragraphs of 80 to 700 characters


def gather(library: Path | None = None) -> Words:
    """Words of the standard library under `library` (default: the one that runs this)."""
    folder = library or Path(sysconfig.get_paths()["stdlib"])
    counts: Counter[str] = Counter()
    sentences: set[str] = set()
    paragraphs: set[str] = set()
    for text in _docstrings(folder):
        for paragraph in re.split(r"\n\s*\n", text):
            line = " ".join(paragraph.split())
            if not 20 <= len(line) <= 700 or _names_an_exception(line) or not line.isascii():
                continue
            counts.update(_WORD.findall(line))
            if len(line) >= 80 and ">>>" not in line:
                paragraphs.add(line)
            sentences.update(s for s in _SENTENCE.findall(line) if 4 <= len(s.split()) <= 18)
    plain = sorted(
        (word for word in counts if counts[word] >= 4), key=lambda word: (-counts[word], word)
    )
    return Words(tuple(plain[:4000]), tuple(sorted(sentences)), tuple(sorted(paragraphs)))


def _docstrings(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*.py")):
        if EXCLUDED_MODULES.intersection(path.relative_to(folder).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield text


def _names_an_exception(line: str) -> bool:
    return any(word in _EXCEPTION_NAMES for word in re.findall(r"[A-Z]\w+", line))
