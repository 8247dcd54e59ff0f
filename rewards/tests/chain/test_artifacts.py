"""The committed artifacts belong to the committed sources."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rewards.chain.artifacts import CONTRACTS_FOLDER, check_artifacts, load_artifact, source_hash
from rewards.chain.errors import ArtifactsStale


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The contracts folder without its packages, free to be broken."""
    folder = tmp_path / "contracts"
    ignored = shutil.ignore_patterns("node_modules", "out", "cache")
    shutil.copytree(CONTRACTS_FOLDER, folder, ignore=ignored)
    return folder


def test_the_committed_artifacts_match_the_committed_sources() -> None:
    assert check_artifacts() == source_hash()


def test_the_check_command_says_so_without_node() -> None:
    command = [str(CONTRACTS_FOLDER / "check")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "artifacts match" in answer.stdout


@pytest.mark.parametrize("name", ["src/OpenToken.sol", "compiler.json"])
def test_a_changed_source_makes_the_artifacts_stale(copy: Path, name: str) -> None:
    with (copy / name).open("a") as file:
        file.write("\n")
    with pytest.raises(ArtifactsStale, match=r"run build\.sh"):
        check_artifacts(copy)


def test_another_compiler_version_makes_the_artifacts_stale(copy: Path) -> None:
    package = copy / "package.json"
    package.write_text(package.read_text().replace('"solc": "0.8.37"', '"solc": "0.8.36"'))
    with pytest.raises(ArtifactsStale):
        check_artifacts(copy)


def test_a_source_without_an_artifact_is_noticed(copy: Path) -> None:
    (copy / "artifacts" / "OpenToken.json").unlink()
    with pytest.raises(ArtifactsStale, match="OpenToken"):
        check_artifacts(copy)


def test_deployed_code_stays_below_the_size_limit_of_the_chain() -> None:
    """EIP-170: 24,576 bytes of deployed code; creation code is a little more than that."""
    for path in (CONTRACTS_FOLDER / "artifacts").glob("*.json"):
        assert len(load_artifact(path.stem).bytecode) < 24_576


@pytest.mark.slow
def test_compiling_again_gives_the_same_bytes() -> None:
    if not (CONTRACTS_FOLDER / "node_modules" / "solc").exists():
        pytest.skip("solc is not installed")
    command = [str(CONTRACTS_FOLDER / "build.sh"), "--check"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
