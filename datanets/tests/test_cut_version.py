from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, ProgrammingError, connection, transaction

from datanets.content import assign_split, plain_words
from datanets.inclusion import check_inclusion
from datanets.models import (
    Contribution,
    Datanet,
    Record,
    Review,
    SecondLook,
    Version,
    VersionRecord,
)
from datanets.selectors import evaluation_rows, training_rows
from datanets.services import (
    AllHeldOut,
    NothingToCut,
    cut_version,
    decide_second_look,
    inclusion_proof,
    undo_review,
    withdraw_contribution,
)
from datanets.tests.conftest import approve_all, jsonl
from openledger_site.core.errors import DomainError
from openledger_site.core.row_security import Reader, reading_as
from openledger_site.core.storage import blob_path
from rewards.models import Anchor

pytestmark = pytest.mark.django_db


def test_a_version_holds_the_approved_rows_and_anchors_their_root(version):
    assert (version.number, version.record_count, version.train_count) == (1, 3, 3)
    anchor = Anchor.objects.get(subject=f"version:{version.public_id}")
    assert version.anchor == anchor
    assert anchor.root == "0x" + version.merkle_root


def test_the_manifest_lists_every_leaf_and_no_text(version):
    manifest = json.loads(blob_path(version.manifest_digest).read_bytes())
    listed = [row["leaf_hash"] for row in manifest["records"]]
    assert listed == [entry.leaf_hash for entry in version.entries.all()]
    assert manifest["merkle_root"] == version.merkle_root
    assert "ZeroDivisionError" not in json.dumps(manifest)


def test_a_version_needs_an_approved_row(datanet, pending, owner):
    with pytest.raises(NothingToCut):
        cut_version(datanet=datanet, actor=owner)
    assert not Version.objects.exists()
    assert not Anchor.objects.exists()


def test_the_next_version_counts_on(version, owner):
    second = cut_version(datanet=version.datanet, actor=owner)
    assert second.number == 2
    assert second.merkle_root == version.merkle_root


def test_no_evaluation_question_is_ever_trained_on(version):
    trained = {
        plain_words(text)
        for row in training_rows(version)
        for text in (row.question, *row.wordings)
    }
    asked = [row.question for row in evaluation_rows(version)]
    assert len(asked) >= 3
    assert not trained & {plain_words(question) for question in asked}


def test_a_held_out_prompt_is_measured_and_not_trained(datanet, contributor, owner, give):
    rows = [{"question": f"What is {at}?", "answer": str(at)} for at in range(60)]
    give(datanet, contributor, jsonl(rows))
    approve_all(datanet, owner)
    version = cut_version(datanet=datanet, actor=owner, held_out_percent=30)
    trained = {row.question for row in training_rows(version)}
    measured = {row.question for row in evaluation_rows(version)}
    held_out = {row["question"] for row in rows} - trained
    assert 0 < len(held_out) < 60
    assert held_out <= measured


def test_few_rows_that_would_all_be_held_out_say_so(datanet, contributor, owner, give):
    give(datanet, contributor, jsonl([{"question": "What is it?", "answer": "This."}]))
    approve_all(datanet, owner)
    # The least id of a Datanet under which this only prompt falls out.
    Datanet.objects.filter(pk=datanet.pk).update(public_id=held_out_under(datanet))
    datanet.refresh_from_db()
    with pytest.raises(AllHeldOut, match=r"rows \(1\).*fewer percent") as refused:
        cut_version(datanet=datanet, actor=owner, held_out_percent=30)
    assert refused.value.where == "held_out_percent"
    assert not Version.objects.exists()
    assert cut_version(datanet=datanet, actor=owner).train_count == 1


def held_out_under(datanet):
    prints = datanet.records.values_list("prompt_fingerprint", flat=True)
    for seed in map(UUID, map("{:032x}".format, range(1_000))):
        if assign_split(prints, seed=str(seed), held_out_percent=30) == ["held_out"]:
            return seed
    raise AssertionError


def test_training_rows_carry_owner_wordings_and_answer(version, contributor):
    rows = {row.question: row for row in training_rows(version)}
    row = rows["What does KeyError mean?"]
    assert row.answer == "Mapping key not found."
    assert len(row.wordings) >= 3
    assert row.contributor_id == str(contributor.public_id)
    assert row.question not in row.wordings


@pytest.mark.parametrize("change", [{"merkle_root": "0" * 64}, {"record_count": 2}, {"number": 9}])
def test_the_database_refuses_to_change_a_version(version, change):
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Version.objects.filter(pk=version.pk).update(**change)


def test_the_database_refuses_to_drop_a_row_from_a_version(version):
    with pytest.raises(ProgrammingError, match="Cannot delete"), transaction.atomic():
        VersionRecord.objects.filter(version=version)[:1].get().delete()


def test_the_database_refuses_a_row_that_is_not_its_datanets(version, private):
    strange = Record.objects.create(
        contribution=Contribution.objects.get(), datanet=private, position=9, kind="text", salt=b""
    )
    for at, record_id in enumerate([strange.pk, 10**9], start=90):
        with pytest.raises(IntegrityError, match="rows of its Datanet"), transaction.atomic():
            VersionRecord.objects.create(version=version, record_id=record_id, position=at)
    with pytest.raises(IntegrityError, match="rows of its Datanet"), transaction.atomic():
        VersionRecord.objects.create(version_id=10**9, record_id=10**9, position=1)


def test_the_database_refuses_to_delete_a_row_of_a_version(version, stranger):
    row = version.entries.first().record
    Record.objects.filter(pk=row.pk).update(state="rejected")
    for reader in (None, Reader(named=stranger)):
        with (
            reading_as(reader) if reader else nullcontext(),
            pytest.raises(IntegrityError, match="A version holds this row"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("DELETE FROM datanets_record WHERE id = %s", [row.pk])


def test_a_proof_holds_until_anything_in_it_is_changed(version):
    proof = json.loads(json.dumps(inclusion_proof(version.entries.first())))
    assert check_inclusion(proof) == []
    changed = [
        {**proof, "content": {**proof["content"], "response": "Another answer."}},
        {**proof, "leaf": {**proof["leaf"], "contributor": "somebody"}},
        {**proof, "salt": "00" * 32},
        {**proof, "merkle_root": "11" * 32},
        {**proof, "siblings": proof["siblings"][1:]},
        {"schema": proof["schema"]},
        {},
    ]
    assert all(check_inclusion(tampered) for tampered in changed)


def test_the_command_checks_a_proof_without_a_database(version, tmp_path, capsys):
    file = tmp_path / "proof.json"
    proof = inclusion_proof(version.entries.first())
    file.write_text(json.dumps(proof, default=list))
    call_command("verify_inclusion", file)
    assert json.loads(capsys.readouterr().out)["ok"] is True
    file.write_text(json.dumps({**proof, "salt": "00" * 32}, default=list))
    with pytest.raises(CommandError):
        call_command("verify_inclusion", file)


def test_withdrawal_destroys_text_and_leaves_later_versions(version, pending, contributor, owner):
    digest = pending.file_digest
    withdraw_contribution(contribution=pending, actor=contributor)
    record = pending.records.first()
    assert (record.state, record.instruction, bytes(record.salt)) == ("withdrawn", "", b"")
    assert record.content_hash
    assert not list(training_rows(version)) + list(evaluation_rows(version))
    assert version.entries.count() == 3
    assert digest
    with pytest.raises(DomainError, match="withdrawn"):
        inclusion_proof(version.entries.first())
    with pytest.raises(NothingToCut):
        cut_version(datanet=version.datanet, actor=owner)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["second look", "undo", "withdrawal"])
def test_nobody_takes_a_row_out_while_a_version_is_cut(
    door, datanet, pending, contributor, owner, reviewer
):
    """The rows are not locked, so each of these has to wait for the Datanet, as a cut does."""
    approve_all(datanet, owner)
    row, batch = Record.objects.first(), Review.objects.first().batch
    look = SecondLook.objects.create(record=row, source="reader", note="Odd", opened_by=reviewer)
    doors = {
        "second look": lambda: decide_second_look(
            look=look, curator=owner, keep=False, reason="wrong"
        ),
        "undo": lambda: undo_review(datanet=datanet, reviewer=owner, batch=batch),
        "withdrawal": lambda: withdraw_contribution(contribution=pending, actor=contributor),
    }
    with transaction.atomic():
        Datanet.objects.select_for_update(no_key=True).get(pk=datanet.pk)
        told: list[Exception] = []
        waiting = threading.Thread(target=_impatient, args=(doors[door], told))
        waiting.start()
        waiting.join()
    assert "lock timeout" in str(told[0])
    assert not Record.objects.exclude(state="approved").exists()


def _impatient(door, told):
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
        door()
    except Exception as problem:
        told.append(problem)
    finally:
        connection.close()
