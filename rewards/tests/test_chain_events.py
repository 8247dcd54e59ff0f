"""An event of a final block is one row: kept once, voided with its block, standing again after."""

from __future__ import annotations

import uuid

import pytest

from rewards.chain.governance import ParameterEvent
from rewards.chain.records import LogPlace
from rewards.models import CuratorDecision, ParameterChange, SplitParameters
from rewards.services.chain_events import keep_event
from rewards.services.parameters import book_parameters, genesis_values

pytestmark = pytest.mark.django_db
CHAIN = 31337
PLACE = LogPlace(
    transaction_hash="0x" + "1" * 64, log_index=0, block_number=7, block_hash="0x" + "2" * 64
)


def keep() -> tuple[CuratorDecision, bool, bool]:
    return keep_event(
        CuratorDecision,
        PLACE,
        CHAIN,
        standing=CuratorDecision.State.WAITING,
        datanet=uuid.UUID(int=1),
        account="0x" + "3" * 40,
        is_curator=True,
    )


def test_an_event_is_kept_once() -> None:
    assert keep()[1:] == (True, False)
    assert keep()[1:] == (False, False)
    assert CuratorDecision.objects.get().applications == 1


def test_what_was_dealt_with_is_not_opened_again() -> None:
    keep()
    CuratorDecision.objects.update(state=CuratorDecision.State.DONE)
    assert keep()[0].state == CuratorDecision.State.DONE


def test_an_event_stands_again_when_its_very_block_comes_back() -> None:
    keep()
    CuratorDecision.objects.update(state=CuratorDecision.State.VOIDED)
    assert keep()[1:] == (False, True)
    kept = CuratorDecision.objects.get()
    assert (kept.state, kept.applications) == (CuratorDecision.State.WAITING, 2)


def test_a_change_whose_block_comes_back_counts_from_where_it_counted() -> None:
    event = ParameterEvent(place=PLACE, version=2, from_epoch=3, values=genesis_values())
    assert book_parameters(event, CHAIN, "0x" + "4" * 40)
    assert not book_parameters(event, CHAIN, "0x" + "4" * 40)
    ParameterChange.objects.update(state=ParameterChange.State.VOIDED)
    assert book_parameters(event, CHAIN, "0x" + "4" * 40)
    assert ParameterChange.objects.get().state == ParameterChange.State.COUNTED
    assert SplitParameters.objects.get(version__gt=1).effective_from_epoch == 3
