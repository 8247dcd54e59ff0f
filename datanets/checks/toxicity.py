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
# One of these is in all that is listed; a search for each is five times as fast as the pattern.
_SIGNS = sorted(
    {one for one in (*THREATS, *WORDS) if not any(o in one for o in (*THREATS, *WORDS) if o != one)}
)


def toxic_words(text: str) -> Finding | None:
    lowered = text.lower()
    if not any(map(lowered.__contains__, _SIGNS)):
        return None
    count = len(_LISTED.findall(lowered))
    if not count:
        return None
    return Finding(
        rule="toxic_words",
        sentence=f"{count} on our list of {len(WORDS) + len(THREATS)} abusive words and threats.",
        measured=count,
        threshold=1,
    )
