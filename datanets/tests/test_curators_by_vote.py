"""A vote appoints a curator where anybody may read, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from datanets.models import Datanet, Membership
from openledger_site.accounts.models import User, Wallet
from rewards.models import CuratorDecision
from rewards.services import carry_out_decisions

pytestmark = pytest.mark.django_db
ADDRESS = "0x" + "A" * 40


@pytest.fixture
def datanet(owner: User) -> Datanet:
    row = Datanet.objects.create(
        slug="physics", name="Physics", description="-", owner=owner, licence="CC0-1.0"
    )
    Membership.objects.create(datanet=row, user=owner, role=Membership.Role.OWNER)
    return row


@pytest.fixture
def decide(datanet: Datanet) -> Callable[..., CuratorDecision]:
    def decide(*, is_curator: bool = True, **changes: object) -> CuratorDecision:
        """What the watcher books from a final event, carried out."""
        fields: dict[str, object] = {
            "chain_id": 31337,
            "transaction_hash": f"0x{uuid4().hex:0>64}",
            "log_index": 0,
            "block_number": 1,
            "block_hash": "0x" + "b" * 64,
            "datanet": datanet.public_id,
            "account": ADDRESS,
            "is_curator": is_curator,
        }
        decision = CuratorDecision.objects.create(**(fields | changes))
        carry_out_decisions()
        decision.refresh_from_db()
        return decision

    return decide


@pytest.fixture
def linked(stranger: User) -> User:
    Wallet.objects.create(user=stranger, address=ADDRESS, chain_id=31337)
    return stranger


def roles(datanet: Datanet, user: User) -> list[str]:
    return list(datanet.memberships.filter(user=user).values_list("role", flat=True))


def test_a_vote_appoints_and_ends(
    datanet: Datanet, linked: User, decide: Callable[..., CuratorDecision]
) -> None:
    assert decide().state == "done"
    assert roles(datanet, linked) == ["curator"]
    assert decide(is_curator=False).state == "done"
    assert roles(datanet, linked) == []


def test_a_wallet_that_nobody_linked_waits_for_its_owner(
    datanet: Datanet, stranger: User, decide: Callable[..., CuratorDecision]
) -> None:
    decision = decide()
    assert decision.state == "waiting"
    Wallet.objects.create(user=stranger, address=ADDRESS, chain_id=31337)
    assert carry_out_decisions() == 1
    assert roles(datanet, stranger) == ["curator"]


@pytest.mark.parametrize("visibility", ["restricted", "private"])
def test_no_vote_opens_rows_that_are_not_public(
    datanet: Datanet,
    linked: User,
    decide: Callable[..., CuratorDecision],
    visibility: str,
) -> None:
    Datanet.objects.update(visibility=visibility)
    decision = decide()
    assert (decision.state, roles(datanet, linked)) == ("refused", [])
    assert "no public Datanet" in decision.outcome


def test_the_owner_stays_owner_and_an_unknown_datanet_is_refused(
    datanet: Datanet, owner: User, decide: Callable[..., CuratorDecision]
) -> None:
    Wallet.objects.create(user=owner, address=ADDRESS, chain_id=31337)
    assert decide().state == "refused"
    assert decide(datanet=uuid4()).state == "refused"
    assert roles(datanet, owner) == ["owner"]
