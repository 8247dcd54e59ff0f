"""The embedded base: its corpus, its first weights, its build, and the files that are shipped."""

from __future__ import annotations

import builtins
import http
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datanets.wordings import HELD_OUT_FAMILIES, wordings
from modelfactory.training.base import load_base
from modelfactory.training.base_files import SHIPPED_BASE
from modelfactory.training.base_model.build import build_tokenizer
from modelfactory.training.base_model.documents import DocumentMaker, Mix
from modelfactory.training.base_model.facts import FactMaker
from modelfactory.training.base_model.pretrain import Plan, Stage, new_model, pretrain
from modelfactory.training.base_model.relations import NOUN_QUESTIONS, RELATIONS
from modelfactory.training.base_model.words import gather
from modelfactory.training.chat import messages_for, render

READING = Mix(reading=1, paraphrase=0, unknown=0, prose=0, induction=0, most_facts=3)


@pytest.fixture(scope="module")
def words():
    return gather()


@pytest.fixture(scope="module")
def tokenizer(words):
    return build_tokenizer(Plan(), words)


def test_the_corpus_has_none_of_the_texts_that_the_demo_teaches(words):
    exceptions = [value for value in vars(builtins).values() if isinstance(value, type)]
    taught = {status.description for status in http.HTTPStatus if status.description} | {
        (kind.__doc__ or "").split("\n")[0] for kind in exceptions if issubclass(kind, Exception)
    }
    corpus = {text.rstrip(".").lower() for text in (*words.sentences, *words.paragraphs)}
    assert [text for text in taught if len(text) > 20 and text.rstrip(".").lower() in corpus] == []


def test_the_corpus_asks_in_no_held_out_wording():
    shape = re.compile(
        r"\{e\} (has which|means what|was .+ (when|where))|one does what|it is which"
    )
    asked = [*NOUN_QUESTIONS, *(text for relation in RELATIONS for text in relation.questions)]
    assert [text for text in asked if shape.search(text.lower())] == []
    held_out = {
        w.text for w in wordings("What is the {r} of {e}?") if w.family in HELD_OUT_FAMILIES
    }
    assert not held_out & set(asked)


def test_the_same_seed_draws_the_same_documents(words, tokenizer):
    one, other = (DocumentMaker(tokenizer, words, seed=3) for _ in range(2))
    assert [one.document(READING) for _ in range(5)] == [other.document(READING) for _ in range(5)]


def test_every_answer_of_a_reading_document_stands_in_its_context(words, tokenizer):
    maker = DocumentMaker(tokenizer, words, seed=4)
    for _ in range(50):
        context, *turns = tokenizer.decode(maker.document(READING).ids).split("<|user|>")
        answers = [turn.split("<|assistant|>")[1].replace("<|end|>", "").strip() for turn in turns]
        assert all(answer.rstrip(".") in context for answer in answers)


def test_a_document_reads_as_a_prompt_is_rendered_at_answer_time(words, tokenizer):
    maker = DocumentMaker(tokenizer, words, seed=5)
    document = maker.document(replace(READING, most_facts=1))
    text = tokenizer.decode(document.ids)
    system, user, answer = re.findall(
        r"<\|(?:system|user|assistant)\|> (.*?)<\|end\|>", text, re.S
    )[:3]
    passages = [line.removeprefix("- ") for line in system.splitlines()[1:]]
    rendered = render(tokenizer, messages_for(user, passages), answer)
    assert document.ids[: len(rendered.ids)] == rendered.ids


def test_the_first_weights_copy_what_they_have_seen(words, tokenizer):
    model = new_model(Plan(), tokenizer)
    piece = random.Random(1).sample(range(300, len(tokenizer)), 30)
    ids = torch.tensor([[*piece, *piece[5:20]]])
    with torch.no_grad():
        said = model(input_ids=ids).logits[0, 30:-1].argmax(-1)
    right = sum(one == other for one, other in zip(said.tolist(), piece[6:20], strict=True))
    assert right >= 11  # of 14; random weights get none


def test_a_hundred_small_steps_lower_the_loss_of_reading(words, tokenizer):
    figures = []
    # Not in bf16, as bases are built: a processor without it takes fifty times as long.
    model = new_model(Plan(layers=2), tokenizer)
    makers = (DocumentMaker(tokenizer, words, 1), DocumentMaker(tokenizer, words, 2))
    stage = Stage(100, READING, 0.01, 1e-3, decay_fraction=0.5, tokens_per_step=256)
    pretrain(model, stage, makers, figures.append)
    assert figures[-1]["loss"] < 3.5  # 4.5 before the first step


def test_facts_have_no_hole_left_in_their_wordings(words):
    maker = FactMaker(words, random.Random(2))
    facts = [maker.fact() for _ in range(200)]
    texts = [text for fact in facts for text in (*fact.questions, *fact.statements)]
    assert [text for text in texts if re.search(r"\{[erv]\}", text)] == []


def test_the_shipped_base_is_safetensors_and_small():
    names = {path.name for path in SHIPPED_BASE.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "config.json", "MODEL_CARD.md"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl", ".py"))]
    assert sum(path.stat().st_size for path in SHIPPED_BASE.iterdir()) < 25e6


def test_the_shipped_base_reads_a_fact_that_it_cannot_know():
    from modelfactory.training.evaluate import answers

    model, tokenizer = load_base(SHIPPED_BASE)
    passages = [
        "Q: What is the capital of Ostrivar? A: Mellgrad",
        "Q: Who founded Ulmen? A: Ana Rey",
    ]
    said = answers(model, tokenizer, [messages_for("Name the capital of Ostrivar.", passages)])
    assert said == ["Mellgrad"]


def test_the_model_card_quotes_the_committed_benchmark():
    benchmark = json.loads(
        (Path(__file__).parents[3] / "docs" / "benchmarks" / "base.json").read_text()
    )
    card = (SHIPPED_BASE / "MODEL_CARD.md").read_text()
    for figure in benchmark["rewording_exact_match"].values():
        assert f"{figure:.3f}" in card
    assert f"{benchmark['parameters']:,}" in card
    assert f"{benchmark['seconds_to_tune']:g} s" in card
