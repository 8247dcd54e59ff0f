"""What an agent can and cannot do, in plain words that follow from its settings and no others."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.models import AgentVersion
from marketplace.services.stream_answer import PASSAGES_MAX
from modelfactory.models import Model

Rows = AgentVersion.Rows
ROWS_WORDS = {
    Rows.LOOK_UP: f"Read at most {PASSAGES_MAX} rows before it answers: those that fit the"
    " question by their words and that whoever asks may read.",
    Rows.ONLY: f"Answer only from rows that whoever asks may read, at most {PASSAGES_MAX}, and"
    " refuse a question, free of charge, when none of them is about it.",
    Rows.NONE: "Answer from what its model has learnt, without looking anything up.",
}
ROWS_CHOICES = {
    Rows.LOOK_UP: f"Look rows up: at most {PASSAGES_MAX} that fit, before it answers",
    Rows.ONLY: "Answer only from rows: refuse, free of charge, when none is about the question",
    Rows.NONE: "Answer from memory: look nothing up",
}
NEVER = (
    "Search the web, run programs, send anything or act anywhere: it writes text.",
    "Remember what you asked before: in this chat each question stands by itself.",
    "Know more than its model learnt and the rows that it looks up.",
)
AS_FACTS = (
    "Follow orders about style or manner: its small base was not trained to. It reads instructions"
    " as facts to answer from, and may repeat them."
)
MAY_REPEAT = (
    "Keep its instructions secret for certain: a model can be made to say them in others' words."
)


@dataclass(frozen=True)
class Abilities:
    can: list[str]
    cannot: list[str]


def abilities(model: Model, version: AgentVersion) -> Abilities:
    """Of one version over its model."""
    words = version.max_tokens * 7 // 10
    can = [
        ROWS_WORDS[Rows(version.rows)],
        f"Write up to {version.max_tokens:,} tokens an answer, which is about {words:,} words.",
    ]
    cannot = list(NEVER)
    if version.instructions and model.base.reads_instructions_as_facts:
        cannot.insert(0, AS_FACTS)
    elif version.instructions:
        can.insert(0, "Keep to its owner's instructions as well as its base model follows them.")
        cannot.append(MAY_REPEAT)
    return Abilities(can, cannot)
