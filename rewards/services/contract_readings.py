"""Is the code on chain ours? Asked by the clock, never by a page."""

from __future__ import annotations

from django.conf import settings
from django.db.models.functions import Now

from rewards.chain.artifacts import artifact
from rewards.chain.verification import compare_code
from rewards.models import ContractReading
from rewards.services.chain import chain_client, contract_addresses


def read_contracts() -> int:
    """Compare the code of each of our contracts with its artifact; how many there are.

    Raises `ContractsMissing` before deployment, `ChainError` when the node does not answer.
    """
    client, named = chain_client(), contract_addresses().by_name()
    client.check()
    block = client.latest_block().number
    for name, address in named.items():
        compiled = artifact(name)
        found = compare_code(client.code_of(address), compiled.bytecode)
        ContractReading.objects.update_or_create(
            chain_id=settings.CHAIN_ID,
            address=address,
            defaults={
                "name": name,
                "is_same_code": found.is_same,
                "constants": found.constants,
                "source_hash": compiled.source_hash,
                "read_block": block,
                "read_at": Now(),
            },
        )
    return len(named)
