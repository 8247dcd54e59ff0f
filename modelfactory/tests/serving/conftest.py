"""Tiny real models of four architectures, real PEFT adapters on disk, and a real tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from modelfactory.serving.adapter_files import adapter_digest
from modelfactory.serving.engine import Event, GenerationRequest
from modelfactory.serving.torch_engine import EngineSettings, TorchEngine

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
SHAPES = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 96},
    "gpt2": {"n_positions": 128},
}
TARGETS = {"gpt2": ["c_attn", "c_proj", "c_fc"]}


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, so that every multi-byte character is split between tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({char: at for at, char in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_model(kind: str = "llama"):
    torch.manual_seed(11)
    config = AutoConfig.for_model(
        kind,
        vocab_size=264,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        eos_token_id=None,
        bos_token_id=None,
        initializer_range=0.3,
        **SHAPES[kind],
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


def save_adapter(root: Path, kind: str, seed: int, **options) -> str:
    """Write a random PEFT adapter to ``root/<digest>`` and return the digest."""
    torch.manual_seed(seed)
    options = {
        "r": 4,
        "lora_alpha": 16,
        "target_modules": TARGETS.get(kind, "all-linear"),
        **options,
    }
    model = get_peft_model(tiny_model(kind), LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.15)
    model.save_pretrained(root / "new")
    digest = adapter_digest(root / "new")
    shutil.move(root / "new", root / digest)
    return digest


def peft_logits(kind: str, root: Path, digest: str | None, ids: list[int]) -> torch.Tensor:
    """Next-token logits by PEFT itself: the oracle."""
    model = tiny_model(kind)
    if digest is not None:
        model = PeftModel.from_pretrained(model, root / digest).eval()
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0, -1]


def peft_greedy(kind: str, root: Path, digest: str | None, ids, count: int, end: int) -> list[int]:
    model = tiny_model(kind)
    if digest is not None:
        model = PeftModel.from_pretrained(model, root / digest).eval()
    made = []
    with torch.inference_mode():
        while len(made) < count:
            token = int(model(input_ids=torch.tensor([[*ids, *made]])).logits[0, -1].argmax())
            if token == end:
                break
            made.append(token)
    return made


@pytest.fixture(scope="session")
def tokenizer():
    return byte_tokenizer()


@pytest.fixture(scope="session")
def adapters_root(tmp_path_factory):
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="session")
def adapters(adapters_root) -> list[str]:
    """Llama adapters of different ranks, scales and target modules."""
    return [
        save_adapter(adapters_root, "llama", 1),
        save_adapter(adapters_root, "llama", 2, r=8, use_rslora=True),
        save_adapter(adapters_root, "llama", 3, target_modules=["q_proj", "v_proj"]),
        save_adapter(
            adapters_root, "llama", 4, rank_pattern={"o_proj": 2}, alpha_pattern={"q_proj": 3}
        ),
    ]


@pytest.fixture
def make_engine(tokenizer, adapters_root):
    engines = []

    def make(kind: str = "llama", model=None, **settings) -> TorchEngine:
        engine = TorchEngine(
            model or tiny_model(kind),
            tokenizer,
            base_digest="b" * 64,
            adapters_root=adapters_root,
            settings=EngineSettings(**{"slots": 8, "prefill_chunk_tokens": 7, **settings}),
        )
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


async def collect(stream) -> list[Event]:
    return [event async for event in stream]


def tokens_of(events: list[Event]) -> list[int]:
    return [token for event in events for token in event.token_ids]


def text_of(events: list[Event]) -> str:
    return "".join(event.text_delta for event in events)


def ask(request_id: str, prompt_ids=(5, 6, 7), **options) -> GenerationRequest:
    return GenerationRequest(request_id, prompt_ids=tuple(prompt_ids), **options)
