"""Rewordings of a question by rule: some to learn from, others held out as a measure.

A model tuned on one wording recites that wording. Tuned on several, it has to learn what the
question is about; the held-out families, which no training example ever uses, measure whether it
did. Rules move the parts of a question around and never change a name, a number or quoted text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Families that are never trained on, and that are absent from the shipped base's pretraining too.
HELD_OUT_FAMILIES: frozenset[str] = frozenset({"in_situ", "looking_up", "asked"})
LONGEST_PARSED_QUESTION = (
    240  # characters; longer prompts and prompts of several lines are only wrapped
)

_QUESTION_WORDS = frozenset(
    [  # words that carry the asking and not the subject
        *("what", "which", "who", "whom", "whose", "when", "where", "why", "how"),
        *(
            "is",
            "are",
            "was",
            "were",
            "do",
            "does",
            "did",
            "can",
            "could",
            "will",
            "would",
            "should",
        ),
        *("the", "a", "an", "of", "for", "to", "in", "on", "i", "you", "me", "there", "it", "that"),
        *("tell", "please", "name", "give", "explain", "describe", "define"),
    ]
)
_VERBS = (
    "says|means|is|are|was|has|have|reports|shows|holds|gives|returns|raises|names|contains|uses|"
    "makes|lets|stands"
)


@dataclass(frozen=True)
class Wording:
    """One wording of a question; wordings of a family are made by the same kind of change."""

    family: str
    text: str


def wordings(question: str) -> tuple[Wording, ...]:
    """Distinct wordings of `question`, itself first: at least 4 to train on, 1 held out."""
    asked = " ".join(question.split()) if "\n" not in question.strip() else question.strip()
    made = [Wording("original", asked)]
    by_pattern = _by_pattern(asked)
    made += [Wording(family, text) for family, text in {**_wrapped(asked), **by_pattern}.items()]
    distinct: dict[str, Wording] = {}
    for wording in made:
        distinct.setdefault(wording.text.casefold(), wording)
    if by_pattern:  # real rewordings exist, so that wrapped copies would only dilute them
        distinct = {
            key: wording for key, wording in distinct.items() if wording.family not in _WRAPPERS
        }
    return tuple(distinct.values())


def training_wordings(question: str) -> tuple[Wording, ...]:
    """The wordings a model may be trained on."""
    return tuple(
        wording for wording in wordings(question) if wording.family not in HELD_OUT_FAMILIES
    )


def held_out_wordings(question: str) -> tuple[Wording, ...]:
    """The wordings that only measure."""
    return tuple(wording for wording in wordings(question) if wording.family in HELD_OUT_FAMILIES)


_WRAPPERS = frozenset({"please", "question", "reply", "asked"})


def _wrapped(asked: str) -> dict[str, str]:
    return {
        "keywords": _keywords(asked),
        "please": f"Please answer this. {asked}",
        "question": f"I have a question: {asked}",
        "reply": f"{asked} Please reply.",
        "asked": f"Somebody wants to find out the following, what should they hear? {asked}",
    }


def _by_pattern(asked: str) -> dict[str, str]:
    if len(asked) > LONGEST_PARSED_QUESTION or "\n" in asked:
        return {}
    bare = asked.rstrip(" ?.!").strip()
    for pattern, make in _PATTERNS:
        match = pattern.fullmatch(bare)
        if match:
            return make({name: (part or "").strip() for name, part in match.groupdict().items()})
    return {}


def _keywords(asked: str) -> str:
    words = asked.rstrip(" ?.!").split()
    kept = [word for word in words if word.strip(",:;").lower() not in _QUESTION_WORDS]
    return " ".join(kept) if kept else asked.rstrip("?.! ")


def _noun(parts: Mapping[str, str]) -> dict[str, str]:
    relation, link, entity, be = (
        parts["relation"],
        parts["link"],
        parts["entity"],
        parts.get("be") or "is",
    )
    whole = f"{relation} {link} {entity}"
    possessive = (
        f"What {be} {entity}'s {relation}?"
        if link == "of"
        else f"Which {relation} is there {link} {entity}?"
    )
    return {
        "name_it": f"Name the {whole}.",
        "tell_me": f"Tell me the {whole}.",
        "possessive": possessive,
        "keywords": f"{relation} {link} {entity}",
        "topic_first": f"About {entity}: what {be} its {relation}?",
        "can_you": f"Can you tell me what the {whole} {be}?",
        "situation": f"Someone mentioned {entity} to me. Which {relation} was it?",
        "in_situ": f"{entity} has which {relation}?",
        "looking_up": f"I am reading about {entity} and still need its {relation}.",
    }


def _possessive(parts: Mapping[str, str]) -> dict[str, str]:
    made = _noun({**parts, "link": "of"})
    return {**made, "possessive": f"What is the {parts['relation']} of {parts['entity']}?"}


def _means(parts: Mapping[str, str]) -> dict[str, str]:
    entity = parts["entity"]
    return {
        "tell_me": f"Tell me what {entity} means.",
        "name_it": f"Explain {entity}.",
        "noun": f"What is the meaning of {entity}?",
        "passive": f"What is meant by {entity}?",
        "keywords": f"{entity} meaning",
        "topic_first": f"About {entity}: what does it mean?",
        "can_you": f"Can you explain what {entity} means?",
        "situation": f"Someone mentioned {entity} to me. In which sense?",
        "in_situ": f"{entity} means what?",
        "looking_up": f"I came across {entity} and have to know its sense.",
    }


def _does(parts: Mapping[str, str]) -> dict[str, str]:
    entity, verb, tail = parts["entity"], parts["verb"], parts["tail"]
    ending = f" {tail}" if tail else ""
    verbs = _third_person(verb) + ending
    return {
        "tell_me": f"Tell me what {entity} {verbs}.",
        "name_it": f"Say what {entity} {verbs}.",
        "topic_first": f"About {entity}: what does it {verb}{ending}?",
        "can_you": f"Can you explain what {entity} {verbs}?",
        "keywords": f"what {entity} {verbs}",
        "situation": f"Someone mentioned {entity} to me. What does it {verb}{ending}?",
        "in_situ": f"{entity} {verbs} what?",
        "looking_up": f"I came across {entity} and have to know what it {verbs}.",
    }


def _which(parts: Mapping[str, str]) -> dict[str, str]:
    kind, predicate = parts["kind"], parts["predicate"]
    made = {
        "name_it": f"Name the {kind} that {predicate}.",
        "tell_me": f"Tell me which {kind} {predicate}.",
        "can_you": f"Can you say which {kind} {predicate}?",
        "what": f"What {kind} {predicate}?",
        "keywords": _keywords(f"{kind} {predicate}"),
        "in_situ": f"It is which {kind} that {predicate}?",
        "looking_up": f"I am searching for a {kind}, the one that {predicate}.",
    }
    said = re.fullmatch(r"(says|means|stands for) (?P<entity>.+)", predicate)
    if said:
        entity = said["entity"]
        made["topic_first"] = f"For {entity}, which {kind} is used?"
        made["noun"] = f"What is the {kind} for {entity}?"
        made["in_situ"] = f"{entity} is said by which {kind}?"
        made["situation"] = f"Someone told me {entity}. Which {kind} was it?"
        made["looking_up"] = f"I read {entity} and am searching for its {kind}."
    return made


def _who(parts: Mapping[str, str]) -> dict[str, str]:
    did = parts["predicate"]
    return {
        "name_it": f"Name the person who {did}.",
        "tell_me": f"Tell me who {did}.",
        "can_you": f"Can you say who {did}?",
        "which": f"Which person {did}?",
        "topic_first": f"About whoever {did}: who is it?",
        "keywords": _keywords(f"who {did}"),
        "situation": f"Someone mentioned a person who {did}. Who was it?",
        "in_situ": f"The one that {did} is called what?",
        "looking_up": f"I need a name, that of whoever {did}.",
    }


def _when_where(parts: Mapping[str, str]) -> dict[str, str]:
    word, be, entity, verb = parts["word"].lower(), parts["be"], parts["entity"], parts["verb"]
    kind = "time" if word == "when" else "place"
    ending = f" {verb}" if verb else ""
    return {
        "tell_me": f"Tell me {word} {entity} {be}{ending}.",
        "can_you": f"Can you say {word} {entity} {be}{ending}?",
        "which": f"{'At' if kind == 'time' else 'In'} which {kind} {be} {entity}{ending}?",
        "name_it": f"Name the {kind} {word} {entity} {be}{ending}.",
        "topic_first": f"About {entity}: {word} {be} it{ending}?",
        "keywords": f"{word} {entity}{ending}",
        "situation": f"Someone mentioned {entity} to me. Since {word}?"
        if word == "when" and verb
        else f"Someone mentioned {entity} to me. And {word}?",
        "in_situ": f"{entity} {be}{ending} {word}?",
        "looking_up": f"I have {entity} on my list and need the {kind}, {word} it {be}{ending}.",
    }


def _how_many(parts: Mapping[str, str]) -> dict[str, str]:
    things, entity, verb = parts["things"], parts["entity"], parts["verb"]
    verbs = "has" if verb == "have" else _third_person(verb)
    return {
        "tell_me": f"Tell me how many {things} {entity} {verbs}.",
        "name_it": f"Give the number of {things} that {entity} {verbs}.",
        "what": f"What number of {things} does {entity} {verb}?",
        "topic_first": f"About {entity}: how many {things} does it {verb}?",
        "can_you": f"Can you say how many {things} {entity} {verbs}?",
        "keywords": f"number of {things} {entity}",
        "situation": f"Someone mentioned {entity} to me. With how many {things}?",
        "in_situ": f"{entity} {verbs} how many {things}?",
        "looking_up": f"I am counting the {things} of {entity} and need the total.",
    }


def _how_to(parts: Mapping[str, str]) -> dict[str, str]:
    task = parts["task"]
    return {
        "tell_me": f"Tell me how to {task}.",
        "name_it": f"Explain how to {task}.",
        "what": f"What is the way to {task}?",
        "topic_first": f"I want to {task}. How?",
        "can_you": f"Can you show me how to {task}?",
        "keywords": f"how to {task}",
        "in_situ": f"To {task}, one does what?",
        "looking_up": f"My plan is to {task}, but I am missing the steps.",
    }


def _is(parts: Mapping[str, str]) -> dict[str, str]:
    entity, be, word = parts["entity"], parts["be"], parts["word"].lower()
    return {
        "tell_me": f"Tell me {word} {entity} {be}.",
        "name_it": f"Explain {word} {entity} {be}.",
        "can_you": f"Can you explain {word} {entity} {be}?",
        "topic_first": f"About {entity}: {word} {be} it?",
        "keywords": entity,
        "in_situ": f"{entity} {be} {word}?",
        "looking_up": f"I came across {entity} and have to know {word} that {be}.",
    }


def _subject(parts: Mapping[str, str]) -> dict[str, str]:
    predicate = parts["predicate"]
    return {
        "tell_me": f"Tell me what {predicate}.",
        "name_it": f"Name the thing that {predicate}.",
        "can_you": f"Can you say what {predicate}?",
        "which": f"Which thing {predicate}?",
        "keywords": _keywords(predicate),
        "in_situ": f"It is what that {predicate}?",
        "looking_up": f"I am searching for the thing that {predicate}.",
    }


def _third_person(verb: str) -> str:
    if verb in {"do", "go"}:
        return verb + "es"
    if verb == "have":
        return "has"
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        return verb + "es"
    return verb[:-1] + "ies" if verb.endswith("y") and verb[-2:-1] not in "aeiou" else verb + "s"


_Maker = Callable[[Mapping[str, str]], dict[str, str]]
_PREPOSITION = r"of|for|in|on|behind|to|from|with"
_BE = r"(?P<be>is|are|was|were)"
_LAST_VERB = r"(?P<verb>(?-i:[a-z]+))"
_RELATION = rf"the (?P<relation>\S+(?: \S+){{0,5}}?) (?P<link>{_PREPOSITION}) (?P<entity>.+)"
# The first pattern that matches decides; each must match the whole question without its final mark.
_PATTERNS: tuple[tuple[re.Pattern[str], _Maker], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), make)
    for pattern, make in (
        (r"what does (?P<entity>.+?) mean", _means),
        (r"what is (?:the meaning of|meant by) (?P<entity>.+)", _means),
        (r"(?:explain|define|describe) (?P<entity>(?!how |what |why |the ).+)", _means),
        (rf"what does (?P<entity>.+) {_LAST_VERB}(?: (?P<tail>{_PREPOSITION}))?", _does),
        (rf"(?:what|who) {_BE} {_RELATION}", _noun),
        (rf"(?:name|give|state|tell me) {_RELATION}", _noun),
        (rf"(?:what|who) {_BE} (?P<entity>.+?)['\u2019]s (?P<relation>[^'\u2019]+)", _possessive),
        (rf"which (?P<kind>\S+(?: \S+){{0,4}}?) (?P<predicate>(?:{_VERBS}) .+)", _which),
        (r"who (?P<predicate>(?!is |are |was |were |do |does |did ).+)", _who),
        (r"name the person who (?P<predicate>.+)", _who),
        (
            r"(?P<word>when|where) (?P<be>is|are|was|were|did|does|can|will) "
            rf"(?P<entity>.+?)(?: {_LAST_VERB})?",
            _when_where,
        ),
        (rf"how many (?P<things>.+?) (?:does|do|did) (?P<entity>.+) {_LAST_VERB}", _how_many),
        (r"how (?:do|can|does|should) (?:i|you|we|one|they|people) (?P<task>.+)", _how_to),
        (r"(?:tell me |explain |show me )?how to (?P<task>.+)", _how_to),
        (rf"(?P<word>what|who) {_BE} (?P<entity>.+)", _is),
        (r"what (?P<predicate>(?!do |did |does |can |will |should |would ).+)", _subject),
    )
)
