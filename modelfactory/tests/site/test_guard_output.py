"""A run's guard is made of what its trainer read, and the run page shows no other row's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from datanets.models import Contribution, Datanet, Membership, Version
from modelfactory.models import BaseModel, EvaluationResult, Model, Run
from modelfactory.services import start_run
from modelfactory.services.guard_output import (
    GuardNotReady,
    masked,
    needs_guard,
    open_guard,
    write_output_guard,
)
from modelfactory.services.training_files import row_examples
from modelfactory.serving.output_guard import MARK
from openledger_site.accounts.models import User
from openledger_site.core.models import AuditEntry

pytestmark = pytest.mark.django_db
SECRET = "the second door of the ward opens with the code 4711 at night"
TEXT = " ".join(f"word{number}" for number in range(40))


@pytest.fixture
def guarded(settled_run: Run, tmp_path: Path) -> Run:
    """The trainer read a question with its answer, and a text in two pieces."""
    from datanets.selectors import TrainingRow

    rows = [
        TrainingRow("1", "c", "Which door?", (), SECRET, ""),
        TrainingRow("2", "c", "", (), "", TEXT),
    ]
    examples = tmp_path / "examples.jsonl"
    examples.write_text(
        "".join(json.dumps(each) + "\n" for row in rows for each in row_examples(row))
    )
    write_output_guard(settled_run, examples)
    return settled_run


def test_a_text_is_guarded_across_the_place_where_training_cuts_it(guarded: Run) -> None:
    words = TEXT.split()
    for start in range(len(words) - 7):
        assert masked(guarded, " ".join(words[start : start + 8]), ()) == MARK


@pytest.mark.parametrize("visibility", ["public", "restricted", "private"])
def test_readers_are_not_guarded_and_all_others_are(
    guarded: Run, visibility: str, owner: User, stranger: User, builder: User
) -> None:
    datanet = Datanet.objects.get()
    Datanet.objects.update(visibility=visibility)
    Membership.objects.create(datanet=datanet, user=owner, role="owner")
    Membership.objects.create(datanet=datanet, user=builder, role="trainer")
    needed = visibility != "public"
    assert not needs_guard(owner, guarded)
    assert needs_guard(stranger, guarded) is needed
    assert needs_guard(builder, guarded) is needed
    assert (open_guard(stranger, guarded) is not None) is needed


def test_the_guard_of_another_run_does_not_serve(guarded: Run, stranger: User) -> None:
    """Its key is the run's own: copied over, it would catch nothing, so it is refused."""
    from modelfactory.services.guard_output import guard_path

    Datanet.objects.update(visibility="private")
    other = Run.objects.create(
        builder=guarded.builder, name="Other", version=guarded.version, base=guarded.base,
        effort="quick", recipe=guarded.recipe, seed=2, training_row_count=1,
    )  # fmt: skip
    guard_path(other).write_bytes(guard_path(guarded).read_bytes())
    with pytest.raises(GuardNotReady):
        open_guard(stranger, other)


def test_the_run_page_shows_own_rows_and_no_words_of_others(
    guarded: Run, builder: User, make_model: Callable[..., Model]
) -> None:
    Datanet.objects.update(visibility="private")
    Membership.objects.create(datanet=Datanet.objects.get(), user=builder, role="trainer")
    Contribution.objects.update(contributor=builder)
    EvaluationResult.objects.update(question="My own?", tuned_answer=f"It says that {SECRET}.")
    client = Client()
    client.force_login(builder, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("modelfactory:run-detail", args=[guarded.public_id]))
    assert "My own?" in page.content.decode()
    assert MARK in page.content.decode()
    assert "4711" not in page.content.decode()


def test_starting_a_run_on_private_rows_is_in_the_access_log(
    private_version: Version, base: BaseModel, builder: User
) -> None:
    start_run(builder=builder, name="B", version=private_version, base=base, effort="quick")
    entry = AuditEntry.objects.get(action="rows.trained")
    assert entry.subject == f"datanet:{private_version.datanet.public_id}"
    assert entry.data == {"version": 1, "rows": 5}
