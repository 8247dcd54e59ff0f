"""The soulbound token of a reputation (ERC-5192): its calls, what it says, and its deployment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rewards.chain.calls import ContractCall, create_call, encode_call
from rewards.chain.client import ChainClient
from rewards.chain.contracts import Addresses, create_with_role
from rewards.chain.transactions import Signer


@dataclass(frozen=True)
class Measure:
    """What stands on a token; a `score` of 0 when there is none. `measured_at` in Unix seconds."""

    score: int
    formula: int
    measured_at: int


def write_reputation_call(token: str, holder: str, measure: Measure) -> ContractCall:
    """Makes or rewrites the token of `holder`; by the issuer, with a later measure each time."""
    return encode_call(
        token,
        "write(address,uint16,uint16,uint64)",
        holder,
        measure.score,
        measure.formula,
        measure.measured_at,
    )


def burn_reputation_call(token: str, holder: str) -> ContractCall:
    """Takes the token of `holder` away; by the holder or the issuer."""
    return encode_call(token, "burn(address)", holder)


def read_reputation(client: ChainClient, token: str, holder: str) -> Measure:
    """What stands on the token of `holder` in the latest block."""
    found = client.read(
        token, "reputationOf(address)", [holder], ["uint16", "uint16", "uint64"], "latest"
    )
    return Measure(*(int(number) for number in found))


def deploy_reputation(
    client: ChainClient,
    signer: Signer,
    addresses: Addresses,
    *,
    issuer: str,
    admin_delay_seconds: int,
) -> Addresses:
    """Deploys the token; answers the addresses with its own filled in."""
    arguments = [signer.address, admin_delay_seconds]
    create = create_call("ReputationToken", ["address", "uint48"], arguments)
    token = create_with_role(client, signer, create, "ISSUER_ROLE", issuer)
    return replace(addresses, reputation=token)
