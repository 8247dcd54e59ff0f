"""LoRA fine-tuning (Hu et al. 2021) that survives being killed: same recipe, same examples, same
adapter.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from modelfactory.training.adapter import CONFIG, adapter_digest, canonical_config
from modelfactory.training.base import load_base
from modelfactory.training.batches import Batch, collate, epoch_batches, steps_per_epoch
from modelfactory.training.checkpoint import (
    Checkpoint,
    newest_checkpoint,
    save_checkpoint,
    write_atomically,
)
from modelfactory.training.private import (
    give_private_gradient,
    records_at,
    sample,
    wordings_of,
)
from modelfactory.training.recipe import Example, Recipe, RecipeError

WARM_UP_FRACTION = 0.05
GRADIENT_NORM_LIMIT = 1.0
ADAPTER_FOLDER, CHECKPOINT_FOLDER, TRAIL_FOLDER = "adapter", "checkpoints", "trail"
TRAIL_THIRDS = (1, 2)
"""Adapters at these thirds of the run stay in `trail/third-N`: a gradient of a row that the
finished adapter knows by heart says little, one from the middle of the run says what it taught."""
SECOND_MOMENTS = "second_moments.safetensors"

Progress = Callable[[Mapping[str, Any]], None]


class StoppedError(Exception):
    """Training was asked to stop; a checkpoint of `step` is on disk."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


@dataclass(frozen=True)
class TrainResult:
    """The finished adapter. `losses` has (step, mean loss of response tokens) of each step.

    A private run tells neither losses nor tokens: both are figures of the rows it sampled.
    """

    adapter_folder: Path
    adapter_digest: str
    steps: int
    losses: tuple[tuple[int, float], ...]
    seconds: float
    tokens: int


@dataclass
class _State:
    model: Any
    tokenizer: Any
    optimizer: torch.optim.AdamW
    accelerator: Accelerator
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)


def train(
    recipe: Recipe,
    examples: Sequence[Example],
    folder: Path,
    on_progress: Progress = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train an adapter into `folder/adapter`, resuming from the newest complete checkpoint in
    `folder`.

    `on_progress` gets {"event": "loading"|"resumed"|"step"|"checkpoint", ...}; never example text.
    Raises RecipeError (no examples, or the folder belongs to another run), BaseError, and
    StoppedError when
    `should_stop` said so after a step. Adam's second moments go to
    `folder/second_moments.safetensors`.
    """
    result, _, _ = train_and_keep(recipe, examples, folder, on_progress, should_stop)
    return result


def train_and_keep(
    recipe: Recipe,
    examples: Sequence[Example],
    folder: Path,
    on_progress: Progress = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[TrainResult, PeftModel, Any]:
    """As `train`, and hand back the tuned model and its tokenizer, ready to answer."""
    if not examples:
        raise RecipeError("no examples to train on")
    _claim(folder, recipe, examples)
    on_progress({"event": "loading"})
    state = _start(recipe)
    steps = planned_steps(recipe, len(examples))
    checkpoints = folder / CHECKPOINT_FOLDER
    saved = newest_checkpoint(checkpoints)
    if saved is not None:
        _restore(state, saved)
        on_progress({"event": "resumed", "step": state.step})
    take_steps = _steps if recipe.privacy is None else _private_steps
    for figures in take_steps(state, recipe, examples, steps):
        on_progress({"event": "step", "step": state.step, "steps": steps, **figures})
        stopping = should_stop()
        for third in TRAIL_THIRDS:
            if state.step == trail_step(steps, third):
                _write_adapter(state, recipe, folder / TRAIL_FOLDER / f"third-{third}")
        if stopping or state.step % recipe.checkpoint_every_steps == 0 or state.step == steps:
            save_checkpoint(checkpoints, _snapshot(state))
            on_progress({"event": "checkpoint", "step": state.step})
        if stopping and state.step < steps:
            raise StoppedError(state.step)
    state.model.eval()
    return _finish(state, recipe, folder), state.model, state.tokenizer


def _start(recipe: Recipe) -> _State:
    torch.set_num_threads(recipe.threads)
    base, tokenizer = load_base(recipe.base)
    base.config.use_cache = False
    modules = recipe.target_modules.split(",")
    torch.manual_seed(recipe.seed)  # after loading, which may draw numbers of its own
    adapted = get_peft_model(
        base,
        LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules=modules[0] if modules == ["all-linear"] else modules,
            lora_dropout=0.0,
            task_type="CAUSAL_LM",
        ),
    )
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    model, _ = accelerator.prepare(adapted, optimizer)
    model.train()
    return _State(model, tokenizer, optimizer, accelerator)


def planned_steps(recipe: Recipe, example_count: int) -> int:
    """Optimiser steps of a whole run; a private one has no more than its noise was chosen for."""
    if recipe.privacy is not None:
        return recipe.privacy.steps
    return recipe.epochs * steps_per_epoch(recipe, example_count)


def _steps(
    state: _State, recipe: Recipe, examples: Sequence[Example], steps: int
) -> Iterator[dict[str, float]]:
    """Take every step that is left; what each may tell."""
    for batch in _batches_from(state, recipe, examples):
        began = time.monotonic()
        loss = _step(state, batch, _rate(recipe, state.step, steps))
        state.losses.append((state.step, loss))
        state.seconds += time.monotonic() - began
        yield {"loss": round(loss, 5), "tokens": state.tokens}


def _private_steps(
    state: _State, recipe: Recipe, examples: Sequence[Example], steps: int
) -> Iterator[dict[str, float]]:
    """As `_steps`, with noise; a step tells nothing, since all it could tell is of its rows.

    Steps after the newest checkpoint that a kill undid are taken again with new chance. Nobody saw
    them, so what is given out is still of `steps` steps.
    """
    if recipe.privacy is None or state.accelerator.num_processes > 1:
        raise RecipeError("a private run needs its privacy settings and one process")
    records = wordings_of(recipe, examples, state.tokenizer)
    while state.step < steps:
        began = time.monotonic()
        chosen = sample(len(records), recipe.privacy.sampling_rate)
        give_private_gradient(
            state.model,
            records_at(recipe, records, state.step, chosen),
            recipe.privacy,
            batch_size=recipe.batch_size,
        )
        _move(state, _rate(recipe, state.step, steps))
        state.seconds += time.monotonic() - began
        yield {}


def _batches_from(state: _State, recipe: Recipe, examples: Sequence[Example]) -> Iterator[Batch]:
    """Every batch that `state` has not yet seen, in order."""
    per_epoch = steps_per_epoch(recipe, len(examples))
    for epoch in range(state.step // per_epoch, recipe.epochs):
        batches = epoch_batches(recipe, examples, state.tokenizer, epoch)
        for rendered in batches[state.step - epoch * per_epoch :]:
            yield collate(rendered, state.tokenizer.pad_token_id)


def _step(state: _State, batch: Batch, rate: float) -> float:
    """One optimiser step; the mean cross-entropy (nats) of the response tokens before it."""
    loss = response_loss(state.model, batch)
    state.accelerator.backward(loss)
    trained = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    state.accelerator.clip_grad_norm_(trained, GRADIENT_NORM_LIMIT)
    _move(state, rate)
    state.tokens += batch.ids.numel()
    return float(loss.item())


def _move(state: _State, rate: float) -> None:
    """Let the optimiser use the gradient that stands on the matrices."""
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1


def response_loss(model: Any, batch: Batch) -> Tensor:
    """Mean cross-entropy of the response tokens. Right padding needs no mask under causal
    attention.

    Logits are computed only where some row of the batch has a response token, which is what costs
    most in a model whose vocabulary is large for its size.
    """
    ids, labels = batch.ids.to(model.device), batch.labels.to(model.device)
    targets = labels[:, 1:]
    kept = (targets != -100).any(0).nonzero().squeeze(1)
    if "logits_to_keep" in inspect.signature(_unwrapped(model).forward).parameters:
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
    else:
        logits = model(input_ids=ids, use_cache=False).logits[:, kept]
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets[:, kept].flatten(), ignore_index=-100
    )


def _unwrapped(model: Any) -> Any:
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate: a short rise, then a straight line to zero."""
    rise = max(1.0, steps * WARM_UP_FRACTION)
    return recipe.learning_rate * min(
        (step + 1) / rise, (steps - step) / max(1.0, steps - rise), 1.0
    )


def _moments(state: _State, name: str) -> dict[str, Tensor]:
    """One of Adam's moments by parameter name."""
    trained = ((key, value) for key, value in state.model.named_parameters() if value.requires_grad)
    return {key: state.optimizer.state[value][name] for key, value in trained}


def _snapshot(state: _State) -> Checkpoint:
    return Checkpoint(
        step=state.step,
        tensors={
            "adapter.safetensors": get_peft_model_state_dict(state.model),
            "first_moments.safetensors": _moments(state, "exp_avg"),
            "second_moments.safetensors": _moments(state, "exp_avg_sq"),
            "random.safetensors": {"cpu": torch.get_rng_state()},
        },
        values={"tokens": state.tokens, "seconds": state.seconds, "losses": state.losses},
    )


def _restore(state: _State, saved: Checkpoint) -> None:
    set_peft_model_state_dict(state.model, dict(saved.tensors["adapter.safetensors"]))
    first, second = (
        saved.tensors["first_moments.safetensors"],
        saved.tensors["second_moments.safetensors"],
    )
    for name, parameter in state.model.named_parameters():
        if parameter.requires_grad:
            state.optimizer.state[parameter] = {
                "step": torch.tensor(float(saved.step)),
                "exp_avg": first[name].to(parameter.device),
                "exp_avg_sq": second[name].to(parameter.device),
            }
    torch.set_rng_state(saved.tensors["random.safetensors"]["cpu"])
    state.step, state.tokens = saved.step, int(saved.values["tokens"])
    state.seconds = float(saved.values["seconds"])
    state.losses = [(int(step), float(loss)) for step, loss in saved.values["losses"]]


def trail_step(steps: int, third: int) -> int:
    """The step after which the adapter of that third is kept; 0 in a run too short to have one."""
    return steps * third // 3


def _write_adapter(state: _State, recipe: Recipe, final: Path) -> None:
    """Write the adapter beside its final name and rename it, so that a reader finds it whole or not
    at all.
    """
    draft = final.with_name(f"tmp-{final.name}")
    shutil.rmtree(draft, ignore_errors=True)
    state.model.save_pretrained(draft, safe_serialization=True)
    config = json.loads((draft / CONFIG).read_text())
    if Path(
        recipe.base
    ).exists():  # a path of this machine means nothing to whoever loads the adapter
        config["base_model_name_or_path"] = Path(recipe.base).name
    write_atomically(draft / CONFIG, canonical_config(config))
    (draft / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the site writes its own
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)


def _finish(state: _State, recipe: Recipe, folder: Path) -> TrainResult:
    final = folder / ADAPTER_FOLDER
    _write_adapter(state, recipe, final)
    moments = {name: value.contiguous() for name, value in _moments(state, "exp_avg_sq").items()}
    save_file(moments, folder / SECOND_MOMENTS)
    return TrainResult(
        final, adapter_digest(final), state.step, tuple(state.losses), state.seconds, state.tokens
    )


def _claim(folder: Path, recipe: Recipe, examples: Sequence[Example]) -> None:
    """Tie the folder to this recipe and these examples: checkpoints of another run must not be
    resumed.
    """
    rows = json.dumps([asdict(example) for example in examples], sort_keys=True)
    identity = hashlib.sha256(f"{recipe.to_json()}\n{rows}".encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.sha256"
    if not path.exists():
        write_atomically(path, identity)
    elif path.read_text() != identity:
        raise RecipeError("the folder holds a run with another recipe or other examples")
