"""Who closes their account stops their training first; their public models are private then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelfactory.models import Model, Run
from openledger_site.accounts.closing import close_account, losses_of, obstacles_of
from openledger_site.accounts.models import User

pytestmark = pytest.mark.django_db


def test_training_is_stopped_or_waited_for(run: Run, builder: User) -> None:
    (hint,) = obstacles_of(builder)
    assert "training" in hint.sentence


def test_a_run_that_ended_is_no_obstacle(settled_run: Run, builder: User) -> None:
    assert not obstacles_of(builder)


def test_public_models_are_named_and_become_private(
    make_model: Callable[..., Model], builder: User
) -> None:
    model = make_model()
    assert model.name in losses_of(builder)[0].sentence
    close_account(user=builder, withdraw_rows=False)
    model.refresh_from_db()
    assert model.visibility == Model.Visibility.PRIVATE
