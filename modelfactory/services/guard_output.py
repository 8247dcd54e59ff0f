"""No private row leaves in an answer to somebody who may not read it. Torch-free.

See `modelfactory.serving.output_guard` for how, and docs/decisions/0026 for what it cannot do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from datanets.selectors import readable_by
from modelfactory.models import OutputGuard, Run
from modelfactory.services.training_files import CONTINUE, examples_of
from modelfactory.serving.output_guard import (
    MARK,
    SPAN_WORDS,
    GuardDamagedError,
    GuardFile,
    StreamGuard,
    TextGuard,
    mask,
    write_guard,
)
from openledger_site.core.errors import Unavailable
from openledger_site.core.jobs import Lease, start_job

GUARD_JOB = "modelfactory.guard"


class GuardNotReady(Unavailable):
    """Without it nobody could tell whether an answer gives a private row away: none is given."""

    code = "output_guard_not_ready"
    message = (
        "What protects the private rows behind this model is being made ready. You were not "
        "charged; try again in a minute."
    )


def guard_path(run: Run) -> Path:
    return Path(settings.GUARDS_DIR) / str(run.public_id)


def guard_key(run: Run) -> bytes:
    """The key of a run's fingerprints, so that those of two runs cannot be compared."""
    secret = b"openledger output guard v1\0" + settings.SECRET_KEY.encode()
    return hashlib.sha256(secret + run.public_id.bytes).digest()


def write_output_guard(run: Run, examples: Path) -> int:
    """Fingerprint what the trainer read, from its `examples.jsonl`; returns how many there are."""
    with examples.open(encoding="utf-8") as lines:
        return write_guard(guard_path(run), guard_key(run), _texts(map(json.loads, lines)))


def keep_output_guard(run: Run, count: int) -> None:
    """Note a guard whose file was written. What it counted before stays."""
    fields = {"span_words": SPAN_WORDS, "fingerprint_count": count, "made_at": Now()}
    OutputGuard.objects.update_or_create(run=run, defaults=fields)


def make_output_guard_again(lease: Lease, run: Run) -> None:
    """For a run from before there were guards, or whose file was lost. Safe to run twice.

    Rows withdrawn since are not in it: their text is gone.
    """
    examples = examples_of(run.version)
    count = write_guard(guard_path(run), guard_key(run), _texts(examples))
    with lease.fenced():
        keep_output_guard(run, count)


def _texts(examples: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """What a row says: its question and its answer each, or its text in one piece."""
    for example in examples:
        prompt, response = example["prompt"], example["response"]
        if prompt.startswith(CONTINUE):
            yield f"{prompt.removeprefix(CONTINUE)} {response}"
        else:
            yield prompt
            yield response


def needs_guard(user: Any, run: Run) -> bool:
    """Whether this person may not read the rows that the run learnt."""
    return not readable_by(user).filter(pk=run.version.datanet_id).exists()


def open_guard(
    user: Any, run: Run, asked: Sequence[str] = (), hidden: Sequence[str] = ()
) -> StreamGuard | None:
    """What an answer to `user` has to pass; None for whoever may read the rows.

    `asked` are the texts they sent; `hidden` are texts that the model reads and they may not.
    Raises `GuardNotReady`, and has the guard made, where it is missing or damaged.
    """
    if not needs_guard(user, run):
        return StreamGuard(TextGuard(hidden), asked, of_rows=False) if hidden else None
    try:
        rows = GuardFile(guard_path(run), guard_key(run))
        return StreamGuard(TextGuard(hidden, rows) if hidden else rows, asked)
    except GuardDamagedError as damage:
        start_job(
            GUARD_JOB,
            queue="ingest",
            subject=f"guard:{run.public_id}",
            owner=run.builder,
            payload={"run_id": str(run.public_id)},
        )
        raise GuardNotReady() from damage


def masked(run: Run, text: str, known: Sequence[str]) -> str:
    """What a run answered, for whoever may read the `known` texts and no other rows.

    Where the guard is missing it is a mark alone.
    """
    try:
        with GuardFile(guard_path(run), guard_key(run)) as guard:
            return mask(guard, text, known)
    except GuardDamagedError:
        return MARK


def count_withheld(run: Run, spans: int) -> None:
    """One answer in which so many spans were withheld."""
    OutputGuard.objects.filter(run=run).update(
        answers_withheld=F("answers_withheld") + 1, spans_withheld=F("spans_withheld") + spans
    )
