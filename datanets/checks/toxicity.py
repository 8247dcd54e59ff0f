"""A short list of English abuse and threats, ours. It is a list: it knows no meaning.

It misses other languages, spellings that dodge it, contempt in polite words, and slurs against
groups, which it leaves out. It finds quotations and dictionaries too. So it is a label for a
reviewer and nothing more.
"""

from __future__ import annotations

import re

from datanets.checks.findings import Finding

WORDS = (
    "asshole",
    "arsehole",
    "bastard",
    "bitch",
    "bullshit",
    "cocksucker",
    "cunt",
    "dickhead",
    "dumbass",
    "fuck",
    "fucked",
    "fucker",
    "fucking",
    "imbecile",
    "moron",
    "motherfucker",
    "prick",
    "scumbag",
    "shithead",
    "slut",
    "twat",
    "wanker",
    "whore",
)
THREATS = (
    "kill yourself",
    "go kill yourself",
    "you should die",
    "you deserve to die",
    "i will kill you",
    "i'll kill you",
    "i will hurt you",
    "i hope you die",
    "drop dead",
)
_LISTED = re.compile(r"\b(?:" + "|".join(map(re.escape, (*THREATS, *WORDS))) + r")\b")
SIGNS = frozenset((*WORDS, "kill", "die", "hurt", "dead"))
"""Text without one of these words holds nothing that is listed."""


def toxic_words(text: str) -> Finding | None:
    count = len(_LISTED.findall(text.lower()))
    if not count:
        return None
    return Finding(
        rule="toxic_words",
        sentence=f"{count} on our list of {len(WORDS) + len(THREATS)} abusive words and threats.",
        measured=count,
        threshold=1,
    )
