"""I8 is asked while people pay for answers."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from django.db import connection, connections

from openledger_site.accounts.models import User
from rewards.services.stake_checks import stakers_part_is_somewhere
from rewards.tests.conftest import OPEN, Fund, settled

TARGET = ("datanet:00000000-0000-4000-8000-000000000001", 1)


@pytest.mark.django_db(transaction=True)
def test_an_answer_settled_between_two_reads_is_no_difference(
    consumer: User, builder: User, contributor: User, fund: Fund
) -> None:
    fund(consumer, 100 * OPEN)
    keys: list[str] = []

    def settle() -> None:
        key = f"answer {len(keys)}"
        settled(consumer, builder, contributor, key, stake_targets=[TARGET])
        keys.append(key)
        connections.close_all()

    def and_then_settle(execute: Callable[..., Any], *arguments: Any) -> Any:
        found = execute(*arguments)
        other = Thread(target=settle)
        other.start()
        other.join()
        return found

    settle()
    with connection.execute_wrapper(and_then_settle):
        problems = stakers_part_is_somewhere()
    assert problems == []
    assert len(keys) > 2
