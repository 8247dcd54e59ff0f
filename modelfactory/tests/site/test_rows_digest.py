"""What a run learnt is kept as a digest, which confirms no guess where the rows are private."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction
from django.db.models.functions import Now

from datanets.models import Datanet, Record, Version
from datanets.models.sealed import is_keyed
from datanets.tests.test_sealed_rows import tables_holding
from modelfactory.models import AttributionIndex, BaseModel, Calibration, Run, Valuation
from modelfactory.services import start_run
from modelfactory.services.audit_removal import _rows_changed
from modelfactory.services.training_files import (
    are_learnt,
    examples_digest,
    examples_of,
    kept_digest,
)
from openledger_site.accounts.models import User

pytestmark = pytest.mark.django_db


def learnt(builder: User, version: Version, base: BaseModel, kept: str) -> Run:
    """A settled run with what is measured of it later, all by what `kept` says."""
    run = start_run(builder=builder, name="Birds", version=version, base=base, effort="quick")
    Run.objects.filter(pk=run.pk).update(
        adapter_digest="e" * 64, rows_digest=kept, settled_at=Now()
    )
    index = AttributionIndex.objects.create(adapter_digest="e" * 64, run=run)
    fields: dict[str, Any] = {"index": index, "rows_digest": kept}
    Calibration.objects.create(**fields, subset_count=4, seed=1)
    Valuation.objects.create(**fields, repeat_count=1, question_count=1)
    run.refresh_from_db()
    return run


def kept_digests(run: Run) -> list[str]:
    index = AttributionIndex.objects.get(run=run)
    rows = (Run.objects.get(pk=run.pk), index.calibration, index.valuation)
    return [row.rows_digest for row in rows]


@pytest.fixture
def owners_version(private_version: Version, builder: User) -> Version:
    Datanet.objects.filter(pk=private_version.datanet_id).update(owner=builder)
    private_version.datanet.memberships.create(user=builder, role="owner")
    return private_version


def test_no_table_confirms_a_guess_of_all_rows(
    builder: User, owners_version: Version, base: BaseModel
) -> None:
    digest = examples_digest(examples_of(owners_version))
    run = learnt(builder, owners_version, base, kept_digest(owners_version, digest))
    assert len(set(kept_digests(run))) == 1
    assert is_keyed(run.rows_digest)
    assert tables_holding(f"%{digest}%") == []


def test_of_public_rows_it_is_the_digest_itself(
    builder: User, version: Version, base: BaseModel
) -> None:
    digest = examples_digest(examples_of(version))
    run = learnt(builder, version, base, kept_digest(version, digest))
    assert kept_digests(run) == [digest] * 3


def test_rows_withdrawn_since_are_noticed(
    builder: User, owners_version: Version, base: BaseModel
) -> None:
    kept = kept_digest(owners_version, examples_digest(examples_of(owners_version)))
    run = learnt(builder, owners_version, base, kept)
    assert not _rows_changed(run)
    assert are_learnt(owners_version, kept, examples_of(owners_version))
    Record.objects.filter(pk=Record.objects.earliest("pk").pk).update(state="withdrawn")
    assert _rows_changed(run)
    assert not are_learnt(owners_version, kept, examples_of(owners_version))


def test_the_command_keys_those_from_before_and_nothing_else_changes_them(
    builder: User, version: Version, base: BaseModel
) -> None:
    version.datanet.memberships.create(user=builder, role="trainer")
    digest = examples_digest(examples_of(version))
    run = learnt(builder, version, base, digest)
    Datanet.objects.filter(pk=version.datanet_id).update(visibility="private")
    assert not _rows_changed(Run.objects.get(pk=run.pk))
    call_command("rotate_data_keys")
    assert all(map(is_keyed, kept_digests(run)))
    assert tables_holding(f"%{digest}%") == []
    assert not _rows_changed(Run.objects.get(pk=run.pk))
    for other in (digest, "keyed:" + "a" * 58, ""):
        with (
            pytest.raises(ProgrammingError, match="Cannot update"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE modelfactory_run SET rows_digest = %s", [other])
