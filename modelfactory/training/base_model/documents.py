"""Pretraining documents: token ids with a loss weight for each.

The mix teaches one thing in several ways: an answer is found by what a question is about, not by
how it is worded. Names and values are drawn anew for each document, so nothing but reading can
lower the loss, except in the share without any context, which teaches to admit ignorance instead of
making something up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from modelfactory.training.base_model.facts import Fact, FactMaker
from modelfactory.training.base_model.tokenizer import ASSISTANT, END, SYSTEM, USER
from modelfactory.training.base_model.words import Words
from modelfactory.training.chat import context_message, record_passage

MAX_TOKENS = 448
UNKNOWN = "I do not know."
SMALL_TALK = (
    "Hello! {q}",
    "{q} Thanks.",
    "Quick question. {q}",
    "I am preparing a talk. {q}",
    "{q} A short answer is enough.",
    "My friend and I disagree. {q}",
    "Please help me. {q}",
    "{q} I forgot.",
)


@dataclass(frozen=True)
class Document:
    """`ids` and, for each of them, the weight of its prediction in the loss (0: context only)."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Mix:
    """Shares of the document kinds, in any unit."""

    reading: float
    paraphrase: float
    unknown: float
    prose: float
    induction: float
    most_facts: int  # in one context
    best_first: float = 0.0  # share of contexts that begin with the fact asked for first
    small_talk: float = 0.0  # share of questions with chatter around them


class DocumentMaker:
    """Draws documents from one seeded stream."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, words: Words, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self.facts = FactMaker(words, self.rng)
        self.words = words
        self.tokenizer = tokenizer
        self.vocabulary = len(tokenizer)
        ids = tokenizer.get_vocab()
        self.system, self.user = ids[SYSTEM], ids[USER]
        self.assistant, self.end = ids[ASSISTANT], ids[END]

    def document(self, mix: Mix) -> Document:
        """One document of a kind drawn by `mix`, at most MAX_TOKENS long."""
        kinds = (self._reading, self._paraphrase, self._unknown, self._prose, self._induction)
        shares = (mix.reading, mix.paraphrase, mix.unknown, mix.prose, mix.induction)
        while True:
            made = self.rng.choices(kinds, shares)[0](mix)
            if 3 <= len(made.ids) <= MAX_TOKENS and any(made.weights):
                return made

    def _reading(self, mix: Mix) -> Document:
        facts = self._related_facts(self.rng.randint(1, mix.most_facts))
        turns = self.rng.choice([1, len(facts), len(facts) + 2])
        asked = self.rng.sample(facts, k=min(len(facts), turns))
        asked += self.rng.choices(facts, k=turns - len(asked))
        if self.rng.random() < mix.best_first:
            facts = [asked[0], *(fact for fact in facts if fact is not asked[0])]
        as_records = self.rng.random()
        passages = [self._passage(fact, as_records) for fact in facts]
        writer = _Writer(self)
        writer.turn(self.system, context_message(passages), weight=0.0)
        for fact in asked:
            writer.turn(self.user, self._asked(fact, mix), weight=0.0)
            writer.turn(self.assistant, fact.value, weight=1.0)
        return writer.document()

    def _paraphrase(self, mix: Mix) -> Document:
        facts = self._related_facts(self.rng.randint(2, max(2, min(4, mix.most_facts))))
        writer = _Writer(self)
        seen: set[int] = set()
        order = [index for index in range(len(facts)) for _ in range(3)]
        self.rng.shuffle(order)
        for index in order[: self.rng.randint(4, 9)]:
            writer.turn(self.user, self._asked(facts[index], mix), weight=0.0)
            writer.turn(self.assistant, facts[index].value, weight=1.0 if index in seen else 0.0)
            seen.add(index)
        return writer.document()

    def _unknown(self, mix: Mix) -> Document:
        writer = _Writer(self)
        writer.turn(self.user, self._asked(self.facts.fact(), mix), weight=0.0)
        writer.turn(self.assistant, UNKNOWN, weight=1.0)
        return writer.document()

    def _prose(self, mix: Mix) -> Document:
        writer = _Writer(self)
        writer.text(self.rng.choice(self.words.paragraphs), weight=0.5)
        return writer.document()

    def _induction(self, mix: Mix) -> Document:
        """Random tokens seen twice: the second time they can be copied (Olsson et al. 2022,
        induction heads).
        """
        first = [self.rng.randrange(5, self.vocabulary) for _ in range(self.rng.randint(8, 48))]
        ids, weights = list(first), [0.0] * len(first)
        for _ in range(3):
            start = self.rng.randrange(len(first) - 2)
            piece = first[start : start + self.rng.randint(3, 30)]
            ids += piece
            weights += [0.0] + [1.0] * (len(piece) - 1)
        return Document(tuple(ids), tuple(weights))

    def _related_facts(self, count: int) -> list[Fact]:
        """Facts easy to mix up: of the same relation, the same entity, or nothing in common."""
        draw = self.rng.random()
        if draw < 0.25:
            noun = self.facts.noun()
            made = [self.facts.noun_fact(noun=noun) for _ in range(count)]
        elif draw < 0.40:
            entity = self.facts.noun_fact().entity
            made = [self.facts.noun_fact(entity=entity) for _ in range(count)]
        elif draw < 0.50:
            code = self.rng.choice(
                ["status code", "error name", "signal", "code", self.facts.phrase(1, 2)]
            )
            made = [self.facts.inverse_fact(code) for _ in range(count)]
        else:
            made = [self.facts.fact() for _ in range(count)]
        return list({fact.questions[0]: fact for fact in made}.values())  # one answer to each

    def _asked(self, fact: Fact, mix: Mix) -> str:
        """One of the fact's questions, sometimes with the small talk that people put around it."""
        question = self.rng.choice(fact.questions)
        if self.rng.random() < mix.small_talk:
            return self.rng.choice(SMALL_TALK).replace("{q}", question)
        return question

    def _passage(self, fact: Fact, as_records: float) -> str:
        if as_records < 0.8:
            return record_passage(self.rng.choice(fact.questions), fact.value)
        return self.rng.choice(fact.statements)


class _Writer:
    def __init__(self, maker: DocumentMaker) -> None:
        self._maker = maker
        self._ids: list[int] = []
        self._weights: list[float] = []

    def turn(self, mark: int, content: str, weight: float) -> None:
        self._ids.append(mark)
        self._weights.append(0.0)
        self.text(f" {content.strip()}", weight)
        self._ids.append(self._maker.end)
        self._weights.append(weight)

    def text(self, text: str, weight: float) -> None:
        ids = self._maker.tokenizer(text, add_special_tokens=False)["input_ids"]
        self._ids.extend(ids)
        self._weights.extend([weight] * len(ids))

    def document(self) -> Document:
        return Document(tuple(self._ids), tuple(self._weights))
