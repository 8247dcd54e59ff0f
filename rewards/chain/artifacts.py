"""The committed contract artifacts: ABI and bytecode, checked against the sources they came from.

``load_artifact("OpenToken")`` needs no compiler. ``check_artifacts()`` recomputes the hash of the
Solidity sources, the compiler settings and the pinned versions, and compares it to the one in
each artifact; ``rewards/contracts/check`` is the same as a command.
``rewards/contracts/build.sh`` writes them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rewards.chain.errors import ArtifactsStale

CONTRACTS_FOLDER = Path(__file__).resolve().parent.parent / "contracts"
HASHED_PACKAGES = ("@openzeppelin/contracts", "solc")


@dataclass(frozen=True)
class Artifact:
    """One compiled contract; ``bytecode`` is its creation code without constructor arguments."""

    contract_name: str
    compiler: str
    source_hash: str
    abi: list[dict[str, Any]]
    bytecode: bytes


def source_hash(folder: Path = CONTRACTS_FOLDER) -> str:
    """SHA-256 over settings, sources and pinned versions; the same as in ``scripts/build.cjs``."""
    versions = json.loads((folder / "package.json").read_text())["devDependencies"]
    sources = sorted(path.name for path in (folder / "src").glob("*.sol"))
    digest = hashlib.sha256()
    for name in ["compiler.json", *(f"src/{source}" for source in sources)]:
        content_hash = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        digest.update(f"{name}\n{content_hash}\n".encode())
    for package in HASHED_PACKAGES:
        digest.update(f"{package}\n{versions[package]}\n".encode())
    return digest.hexdigest()


def load_artifact(contract_name: str, folder: Path = CONTRACTS_FOLDER) -> Artifact:
    """The artifact of one contract; raises ``ArtifactsStale`` when it is missing."""
    path = folder / "artifacts" / f"{contract_name}.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ArtifactsStale(f"There is no artifact for {contract_name}; run build.sh.") from None
    return Artifact(
        contract_name=content["contractName"],
        compiler=content["compiler"],
        source_hash=content["sourceHash"],
        abi=content["abi"],
        bytecode=bytes.fromhex(content["bytecode"].removeprefix("0x")),
    )


def check_artifacts(folder: Path = CONTRACTS_FOLDER) -> str:
    """The source hash of all artifacts; raises ``ArtifactsStale`` unless all match the sources."""
    expected = source_hash(folder)
    sources = {path.stem for path in (folder / "src").glob("*.sol")}
    artifacts = {path.stem for path in (folder / "artifacts").glob("*.json")}
    if sources != artifacts:
        raise ArtifactsStale(f"Sources and artifacts differ: {sorted(sources ^ artifacts)}")
    stale = [
        name for name in sorted(sources) if load_artifact(name, folder).source_hash != expected
    ]
    if stale:
        raise ArtifactsStale(f"Compiled from other sources: {', '.join(stale)}; run build.sh.")
    return expected


@cache
def artifact(contract_name: str) -> Artifact:
    """The checked artifact of one contract, read once per process."""
    check_artifacts()
    return load_artifact(contract_name)
