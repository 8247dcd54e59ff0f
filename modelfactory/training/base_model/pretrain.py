"""Pretraining of the embedded base: one thread, bf16 arithmetic, fp32 master weights, documents
made on the fly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from modelfactory.training.base_model.documents import Document, DocumentMaker, Mix
from modelfactory.training.base_model.initial import plant_induction
from modelfactory.training.base_model.optimizer import MasterOptimizer

# First the matching of question and fact, with no help from the order of the passages: a model
# that may
# count on the first passage learns to copy the first passage and nothing else
# (docs/experiments.md).
FIRST_MIX = Mix(reading=5, paraphrase=2, unknown=0, prose=0.4, induction=0.3, most_facts=6)
# Then what answering looks like: retrieval with the best passage first more often than not, and
# chatter.
SECOND_MIX = Mix(
    reading=5,
    paraphrase=2,
    unknown=0.5,
    prose=0.4,
    induction=0.3,
    most_facts=5,
    best_first=0.5,
    small_talk=0.15,
)


@dataclass(frozen=True)
class Stage:
    """A run of steps over one mix; the rates rise over 100 steps and fall to zero at its end."""

    steps: int
    mix: Mix
    matrix_rate: float
    other_rate: float
    decay_fraction: float
    tokens_per_step: int = 4_096


@dataclass(frozen=True)
class Plan:
    """Everything that decides the weights, besides the Python version (words) and the arithmetic of
    the CPU.
    """

    seed: int = 7
    vocabulary: int = 4_096
    hidden_size: int = 256
    layers: int = 5
    heads: int = 4
    key_value_heads: int = 4
    feed_forward: int = 640
    stages: tuple[Stage, ...] = (
        Stage(2_000, FIRST_MIX, matrix_rate=0.015, other_rate=3e-3, decay_fraction=0.25),
        Stage(2_800, SECOND_MIX, matrix_rate=0.012, other_rate=2e-3, decay_fraction=0.5),
    )


def grouped_matmul_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **unused: object,
) -> tuple[Tensor, None]:
    """Causal attention of (rows, heads, length, size) without padding: on this CPU 1.6 times as
    fast as SDPA in bf16,
    whose backward pass takes half of a step at lengths near 100.
    """
    rows, heads, length, size = query.shape
    groups, shared = key.shape[1], heads // key.shape[1]
    scores = query.reshape(rows, groups, shared * length, size) @ key.transpose(2, 3) * scaling
    causal = torch.full((length, length), float("-inf"), dtype=query.dtype).triu_(1)
    weights = torch.softmax(scores.view(rows, groups, shared, length, length) + causal, -1)
    mixed = weights.view(rows, groups, shared * length, length) @ value
    return mixed.view(rows, heads, length, size).transpose(1, 2).contiguous(), None


AttentionInterface.register("grouped_matmul", grouped_matmul_attention)


def new_model(plan: Plan, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A seeded Llama with tied embeddings, fp32."""
    torch.manual_seed(plan.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=plan.hidden_size,
            intermediate_size=plan.feed_forward,
            num_hidden_layers=plan.layers,
            num_attention_heads=plan.heads,
            num_key_value_heads=plan.key_value_heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        )
    )
    model.set_attn_implementation("grouped_matmul")
    plant_induction(model)
    return model


def pretrain(
    model: LlamaForCausalLM,
    stage: Stage,
    makers: tuple[DocumentMaker, DocumentMaker],
    report: Callable[[dict[str, float]], None],
) -> None:
    """Train a bf16 model in place for one stage.

    The first of `makers` draws the training documents, the second those of the checks. `report`
    gets figures every 100 steps: among them the share of answers whose every token is the likeliest
    one.
    """
    live = dict(model.named_parameters())
    optimizer = MasterOptimizer(
        [p for name, p in live.items() if p.ndim == 2 and "embed" not in name],
        [p for name, p in live.items() if p.ndim != 2 or "embed" in name],
    )
    checks = _checks(makers[1], stage.mix.most_facts)
    batches = _batches(makers[0], stage)
    began, losses, tokens = time.monotonic(), list[float](), 0
    for step in range(stage.steps):
        documents = next(batches)
        loss = _loss(model, documents)
        loss.backward()  # type: ignore[no-untyped-call]
        rate = _schedule(step, stage)
        optimizer.step(stage.matrix_rate * rate, stage.other_rate * rate)
        losses.append(loss.item())
        tokens += sum(len(document.ids) for document in documents)
        if (step + 1) % 100 == 0:
            exact = {name: round(_exact(model, chosen), 3) for name, chosen in checks.items()}
            figures = {"step": step + 1, "tokens": tokens, "loss": sum(losses) / len(losses)}
            report({**figures, "seconds": round(time.monotonic() - began), **exact})
            losses.clear()


def _schedule(step: int, stage: Stage) -> float:
    """Warm up, stay, then fall to zero in a straight line over the last `decay_fraction`."""
    left = (stage.steps - step) / (stage.steps * stage.decay_fraction)
    return min(1.0, (step + 1) / 100, left)


def _batches(maker: DocumentMaker, stage: Stage) -> Iterator[list[Document]]:
    """Batches of about `tokens_per_step` padded tokens, each of documents of similar length."""
    while True:
        pool: list[Document] = []
        while sum(len(document.ids) for document in pool) < 12 * stage.tokens_per_step:
            pool.append(maker.document(stage.mix))
        pool.sort(key=lambda document: len(document.ids))
        batches: list[list[Document]] = [[]]
        for document in pool:
            if (len(batches[-1]) + 1) * len(document.ids) > stage.tokens_per_step:
                batches.append([])
            batches[-1].append(document)
        maker.rng.shuffle(batches)
        yield from batches


def _inputs(documents: list[Document]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids (documents, longest); flat positions and weights of the weighted predictions."""
    longest = max(len(document.ids) for document in documents)
    longest += -longest % 16  # few different shapes, because oneDNN keeps a primitive for each
    ids = torch.zeros(len(documents), longest, dtype=torch.long)
    weights = torch.zeros(len(documents), longest)
    for row, document in enumerate(documents):
        ids[row, : len(document.ids)] = torch.tensor(document.ids)
        weights[row, : len(document.ids)] = torch.tensor(document.weights)
    ahead = functional.pad(weights[:, 1:], (0, 1)).reshape(-1)
    positions = ahead.nonzero().squeeze(1)
    return ids, positions, ahead[positions]


def _predicted(model: LlamaForCausalLM, ids: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (positions, vocabulary) in fp32 and the ids they should give. Right padding needs no
    mask.
    """
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = functional.linear(hidden.flatten(0, 1)[positions], model.lm_head.weight).float()
    return logits, functional.pad(ids[:, 1:], (0, 1)).reshape(-1)[positions]


def _loss(model: LlamaForCausalLM, documents: list[Document]) -> Tensor:
    ids, positions, weights = _inputs(documents)
    logits, targets = _predicted(model, ids, positions)
    return (
        functional.cross_entropy(logits, targets, reduction="none") * weights
    ).sum() / weights.sum()


def _checks(maker: DocumentMaker, most_facts: int) -> dict[str, list[Document]]:
    mixes = {
        "reading": Mix(1, 0, 0, 0, 0, most_facts),
        "paraphrase": Mix(0, 1, 0, 0, 0, most_facts),
        "induction": Mix(0, 0, 0, 0, 1, most_facts),
    }
    return {name: [maker.document(mix) for _ in range(40)] for name, mix in mixes.items()}


@torch.no_grad()
def _exact(model: LlamaForCausalLM, documents: list[Document]) -> float:
    """Share of answers (runs of weighted tokens) of which every token is the likeliest one."""
    right = total = 0
    for document in documents:
        ids, positions, _ = _inputs([document])
        logits, targets = _predicted(model, ids, positions)
        hits = (logits.argmax(-1) == targets).tolist()
        runs: list[list[bool]] = []
        for index, position in enumerate(positions.tolist()):
            if index == 0 or position != positions[index - 1] + 1:
                runs.append([])
            runs[-1].append(hits[index])
        right += sum(all(run) for run in runs)
        total += len(runs)
    return right / total
