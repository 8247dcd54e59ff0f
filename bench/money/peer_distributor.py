"""Gas of a claim from the distributor that most projects copy, in the run that measures ours.

Uniswap's MerkleDistributor as its npm package ships it, compiled by its authors: one root for ever,
a bit for each claim, 256 of them a word. It pays the same token, on the same anvil, to the same
people, with proofs as long as ours. It is not cumulative: the next epoch is another contract.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewards.chain.transactions import Signer

PACKAGE = "@uniswap/merkle-distributor@1.0.1"
PACKAGE_SHA256 = "f79a69f4d8dc4b3f75c1107eb3bfe3d4c36c60b898437f61423db6fbeca20dea"
DOWNLOAD_SECONDS = 120


def peer_claim_gas(signers: Sequence[Signer], *, wei_each: int, proof_length: int) -> list[int]:
    """Gas of a claim by each of `signers`, neighbours in one word: the first one opens it.

    Raises `RuntimeError` when the package cannot be had or a claim is refused.
    """
    from rewards.chain.calls import ContractCall, encode_call, transfer_call
    from rewards.chain.contracts import send_and_wait
    from rewards.services.chain import chain_client, contract_addresses
    from rewards.services.dev_chain import give_test_open

    client, token, payer = chain_client(), contract_addresses().token, signers[0]
    give_test_open(payer.address, wei_each * len(signers))
    creation, gas = _creation_code(), []
    root, proofs = _tree([signer.address for signer in signers], wei_each, proof_length)
    made = send_and_wait(client, payer, ContractCall(None, creation + _words(token, root)))
    peer = str(made.contract_address)
    send_and_wait(client, payer, transfer_call(token, peer, wei_each * len(signers)))
    for number, signer in enumerate(signers):
        signature = "claim(uint256,address,uint256,bytes32[])"
        call = encode_call(peer, signature, number, signer.address, wei_each, proofs[number])
        receipt = send_and_wait(client, signer, call)
        if not receipt.is_success:
            raise RuntimeError(f"{PACKAGE} refused the claim of {signer.address}")
        gas.append(int(receipt.gas_used))
    return gas


def _words(token: str, root: bytes) -> bytes:
    return bytes.fromhex(token[2:]).rjust(32, b"\x00") + root


def _tree(people: list[str], wei_each: int, proof_length: int) -> tuple[bytes, list[list[bytes]]]:
    """A root and two proofs in its own encoding; the rest of the tree is any hashes: the contract
    cannot tell, and pays the same gas for them.
    """
    from rewards.merkle import hash_pair, keccak256

    leaves = [
        keccak256(number.to_bytes(32) + bytes.fromhex(person[2:]) + wei_each.to_bytes(32))
        for number, person in enumerate(people)
    ]
    first, second = leaves
    above = [keccak256(level.to_bytes(32)) for level in range(proof_length - 1)]
    node = hash_pair(first, second)
    for sibling in above:
        node = hash_pair(node, sibling)
    return node, [[second, *above], [first, *above]]


def _creation_code() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=DOWNLOAD_SECONDS)
        except (OSError, subprocess.SubprocessError) as problem:
            raise RuntimeError(f"{PACKAGE} cannot be had: {problem}") from problem
        packed = next(Path(folder).glob("*.tgz")).read_bytes()
    if hashlib.sha256(packed).hexdigest() != PACKAGE_SHA256:
        raise RuntimeError(f"{PACKAGE} is not the package that was read")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.extractfile("package/build/MerkleDistributor.json")
        assert member is not None
        content: dict[str, Any] = json.load(member)
    return bytes.fromhex(str(content["bytecode"]).removeprefix("0x"))
