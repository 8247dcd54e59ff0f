from __future__ import annotations

import pytest
from django.db import IntegrityError, ProgrammingError, transaction

from datanets.models import Contribution, Record
from datanets.services import UploadRejected, choose_mapping
from datanets.tests.conftest import jsonl
from openledger_site.core.errors import DomainError
from openledger_site.core.models import AuditEntry
from openledger_site.core.storage import blob_path

pytestmark = pytest.mark.django_db


def test_a_good_file_is_in_review_at_once(pending):
    assert (pending.state, pending.rows_read, pending.rows_accepted) == ("in_review", 3, 3)
    record = pending.records.first()
    assert record.instruction == "What does ZeroDivisionError mean?"
    assert record.state == "pending"
    assert len(bytes(record.salt)) == 32
    assert blob_path(pending.file_digest).exists()
    assert AuditEntry.objects.filter(subject=f"contribution:{pending.public_id}").exists()


def test_rows_get_wordings_to_train_on_and_others_held_out(pending):
    wordings = pending.records.first().wordings
    assert len(wordings["training"]) >= 4
    assert wordings["held_out"]
    assert not set(wordings["training"]) & set(wordings["held_out"])


def test_the_contributors_own_wordings_are_kept(datanet, contributor, give):
    row = {"question": "Why?", "answer": "So.", "wordings": ["How come?", "What for?"]}
    record = give(datanet, contributor, jsonl([row])).records.get()
    assert record.wordings["own"] == ["How come?", "What for?"]


def test_bad_rows_are_left_out_and_named_with_their_remedy(datanet, contributor, give):
    rows = [{"question": "Why?", "answer": ""}, {"question": "How?", "answer": "So."}]
    contribution = give(datanet, contributor, jsonl(rows))
    assert (contribution.rows_accepted, contribution.rows_rejected) == (1, 1)
    bad = contribution.report["bad_rows"][0]
    assert (bad["row"], bad["column"]) == (1, "answer")
    assert bad["cause"]
    assert bad["remedy"]


def test_a_file_without_any_good_row_is_refused_whole(datanet, contributor, give, media):
    with pytest.raises(UploadRejected) as refusal:
        give(datanet, contributor, jsonl([{"question": "Why?", "answer": ""}]))
    assert refusal.value.status == 422
    assert "row 1" in refusal.value.where
    assert not Contribution.objects.exists()
    assert not list(media.rglob("*"))


def test_a_row_given_again_points_at_the_first(datanet, pending, stranger, give):
    again = [{"question": "what does keyerror  mean", "answer": "Mapping key not found"}]
    record = give(datanet, stranger, jsonl(again)).records.get()
    assert record.flags == ["duplicate"]
    assert record.duplicate_of.instruction == "What does KeyError mean?"


def test_the_same_question_with_another_answer_is_flagged(datanet, pending, stranger, give):
    other = [{"question": "What does KeyError mean?", "answer": "A door is locked."}]
    record = give(datanet, stranger, jsonl(other)).records.get()
    assert record.flags == ["same_question"]
    assert record.duplicate_of is not None


def test_rows_of_another_datanet_are_no_duplicates(private, pending, owner, give):
    assert not give(private, owner).records.exclude(flags=[]).exists()


def test_unknown_columns_wait_until_their_owner_names_them(datanet, contributor, give):
    content = b"ask,tell\nWhy?,So.\nHow?,Thus.\n"
    contribution = give(datanet, contributor, content, "rows.csv")
    assert contribution.state == "needs_mapping"
    assert not contribution.records.exists()
    assert contribution.report["needs_mapping"]["columns"] == ("ask", "tell")
    mapping = {"instruction": "ask", "response": "tell"}
    done = choose_mapping(contribution=contribution, actor=contributor, mapping=mapping)
    assert done.state == "in_review"
    assert done.records.count() == 2


@pytest.mark.parametrize(
    ("terms", "where"), [({"licence": "none"}, "licence"), ({"agreed": False}, "agree")]
)
def test_terms_must_be_accepted(datanet, contributor, give, terms, where):
    with pytest.raises(DomainError) as refusal:
        give(datanet, contributor, **terms)
    assert refusal.value.where == where
    assert not Contribution.objects.exists()


def test_the_database_accounts_for_every_row(pending):
    with pytest.raises(IntegrityError), transaction.atomic():
        Contribution.objects.filter(pk=pending.pk).update(rows_rejected=1)


@pytest.mark.parametrize("column", ["instruction", "response", "content_hash", "salt"])
def test_the_database_refuses_to_change_a_row(pending, column):
    value = b"x" * 32 if column == "salt" else "other"
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Record.objects.filter(contribution=pending).update(**{column: value})
