"""Register the base models that this installation can train and serve. Reads files, no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from modelfactory.models import BaseModel
from modelfactory.training.base_files import base_digest, base_files
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import DomainError

HEADER_BYTES_MAX = 100 << 20


class UnreadableBase(DomainError):
    code = "base_unreadable"
    message = "This folder holds no model that can be read: config.json and safetensors are needed."


@dataclass(frozen=True)
class BaseFolder:
    """What the files of a base model say about it; counts are numbers of weights and tokens."""

    digest: str
    parameter_count: int
    size_bytes: int
    context_tokens: int
    hidden_size: int
    layer_count: int
    vocabulary_size: int
    name: str
    licence: str
    description: str


def base_source(base: BaseModel) -> str:
    """What the trainer and the engine load: an absolute folder or a hub id."""
    return resolve_source(base.source)


def resolve_source(source: str) -> str:
    """A shipped folder wins over an absolute folder, and that over a hub id."""
    shipped = Path(settings.BASE_MODELS_DIR) / source
    return str(shipped) if (shipped / "config.json").is_file() else source


def sync_base_models() -> list[BaseModel]:
    """Make the rows match the shipped folders and `settings.BASE_MODEL`; returns those offered.

    A base whose files changed gets a row of its own, because runs point at what they started from.
    """
    folder = Path(settings.BASE_MODELS_DIR)
    sources = {path.parent.name for path in folder.glob("*/config.json")} | {settings.BASE_MODEL}
    with transaction.atomic():
        kept = [_register(source) for source in sorted(sources)]
        BaseModel.objects.exclude(pk__in=[base.pk for base in kept]).update(active=False)
        record_audit(
            "base_models.synced",
            actor=None,
            subject="base_models",
            digests=[base.digest or base.source for base in kept],
        )
    return kept


def _register(source: str) -> BaseModel:
    folder = Path(resolve_source(source))
    slug = slugify(source.strip("/").rpartition("/")[2])[:60] or "base"
    if not (folder / "config.json").is_file():
        return BaseModel.objects.update_or_create(
            source=source, defaults={"slug": slug, "name": source, "active": True}
        )[0]
    facts = read_base_folder(folder)
    base = BaseModel.objects.filter(source=source, digest=facts.digest).first()
    if base is None:
        taken = BaseModel.objects.filter(slug=slug).exists()
        base = BaseModel(source=source, slug=f"{slug}-{facts.digest[:8]}" if taken else slug)
    for name, value in vars(facts).items():
        setattr(base, name, value)
    base.name = facts.name or source
    base.active = True
    base.save()
    return base


def read_base_folder(folder: Path) -> BaseFolder:
    """Read config, safetensors headers and model card. Raises `UnreadableBase`."""
    try:
        config = json.loads((folder / "config.json").read_text())
        weights = sorted(folder.glob("*.safetensors"))
        parameters = sum(_parameter_count(path) for path in weights)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UnreadableBase(where=folder.name) from problem
    if not weights:
        raise UnreadableBase(where=folder.name)
    card = _read_card(folder / "MODEL_CARD.md")
    return BaseFolder(
        digest=base_digest(folder),
        parameter_count=parameters,
        size_bytes=sum(path.stat().st_size for path in base_files(folder)),
        context_tokens=_number(config, "max_position_embeddings", "n_positions"),
        hidden_size=_number(config, "hidden_size", "n_embd"),
        layer_count=_number(config, "num_hidden_layers", "n_layer"),
        vocabulary_size=_number(config, "vocab_size"),
        **card,
    )


def _parameter_count(path: Path) -> int:
    """Numbers in a safetensors file, from its header: 8 bytes of length, then JSON."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > HEADER_BYTES_MAX:
            raise ValueError("header too long")
        header = json.loads(stream.read(length))
    return sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")


def _number(config: dict[str, Any], *names: str) -> int:
    return next((int(config[name]) for name in names if config.get(name)), 0)


def _read_card(path: Path) -> dict[str, str]:
    """Name and licence from the card's front matter, description from its first paragraph."""
    text = path.read_text() if path.is_file() else ""
    front, body = "", text
    if text.startswith("---\n"):
        front, _, body = text[4:].partition("\n---")
    fields = dict(line.split(":", 1) for line in front.splitlines() if ":" in line)
    paragraphs = [part.strip() for part in body.split("\n\n")]
    first = next((p for p in paragraphs if p and p[0] not in "#|-<`"), "")
    heading = next((p[2:].splitlines()[0] for p in paragraphs if p.startswith("# ")), "")
    return {
        "name": (fields.get("name", "").strip() or heading)[:120],
        "licence": fields.get("license", "").strip()[:60],
        "description": " ".join(first.split())[:1000],
    }
