"""Files sent to a Datanet that not everybody reads lie sealed, and open for us alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db.models import RestrictedError
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import DjangoCaptureOnCommitCallbacks, Settings

from datanets.models import Contribution, DataKey, Datanet, Membership
from datanets.models.sealed import _sealer_named
from datanets.services import (
    FileUnreadable,
    append_part,
    begin_upload,
    choose_mapping,
    withdraw_contribution,
)
from datanets.services.kept_files import hold_key, opened_file, sealed_path
from datanets.services.submit_contribution import Upload, submit_contribution
from datanets.tests.conftest import Give, jsonl
from datanets.tests.test_parse_contribution import many_rows
from datanets.tests.test_sealed_rows import tables_holding
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key
from openledger_site.core import jobs
from openledger_site.core.errors import Conflict
from openledger_site.core.models import AnsweredRequest
from openledger_site.core.storage import blob_path

pytestmark = pytest.mark.django_db
SECRET = b"the second door opens with the code 4711"
CONTENT = jsonl([{"ask": "Which door?", "tell": SECRET.decode()}])
OnCommit = DjangoCaptureOnCommitCallbacks


def files_holding(folder: Path, words: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and words in path.read_bytes()]


@pytest.fixture
def closed(owner: User, private: Datanet, contributor: User) -> Datanet:
    Membership.objects.create(datanet=private, user=contributor, role="contributor")
    return private


@pytest.fixture
def sealed(closed: Datanet, contributor: User, give: Give) -> Contribution:
    """It waits for the names of its columns, so its file will be read again."""
    contribution = give(closed, contributor, CONTENT)
    assert contribution.state == "needs_mapping"
    return contribution


def path_of(contribution: Contribution) -> Path:
    assert contribution.file_key is not None
    return sealed_path(contribution.file_key, contribution.file_digest)


def test_no_stored_file_holds_the_words(sealed: Contribution, media: Path) -> None:
    assert not files_holding(media, b"4711")
    assert path_of(sealed).stat().st_mode & 0o077 == 0
    assert not blob_path(sealed.file_digest).exists()
    assert sealed.file_digest == hashlib.sha256(CONTENT).hexdigest()


def test_nothing_stored_says_of_a_guessed_file_that_it_is_there(
    sealed: Contribution, media: Path
) -> None:
    """Neither the database nor the name of the file; the page of its contributor still does."""
    guess = hashlib.sha256(CONTENT).hexdigest()
    assert tables_holding(f"%{guess}%") == []
    assert not [path for path in media.rglob("*") if guess in path.name]
    assert Contribution.objects.get().file_digest == guess


def test_a_stored_answer_to_a_program_does_not_either(
    closed: Datanet, contributor: User, tmp_path: Path
) -> None:
    _, secret = create_api_key(contributor, name="k", scopes=["data"])
    program = Client(headers={"authorization": f"Bearer {secret}", "idempotency-key": "once"})
    form = {"licence": "PSF-2.0", "agree": "on", "file": ContentFile(CONTENT, "rows.jsonl")}
    answer = program.post(reverse("datanets:api-contribution-list", args=[closed.slug]), form)
    assert answer.status_code in (201, 202), answer.content
    assert b"file_digest" in bytes(AnsweredRequest.objects.get().body)
    guess = hashlib.sha256(CONTENT).hexdigest()
    assert tables_holding(f"%{guess}%") == []
    assert tables_holding(f"%{guess.encode().hex()}%") == []


def test_an_upload_in_parts_does_not_while_it_comes(closed: Datanet, contributor: User) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    begun = begin_upload(
        datanet=closed, owner=contributor, filename="a.jsonl", size_bytes=len(CONTENT),
        expected_digest=digest,
    )  # fmt: skip
    whole = append_part(upload=begun, offset_bytes=0, chunks=[CONTENT])
    assert (whole.complete, whole.digest) == (True, digest)
    assert tables_holding(f"%{digest}%") == []


def test_files_sealed_under_their_plain_digest_are_renamed_by_the_command(
    sealed: Contribution, contributor: User, give: Give, media: Path,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:  # fmt: skip
    """Read, and destroyed, in the old place until then."""
    other = give(sealed.datanet, contributor, CONTENT.replace(b"4711", b"0815"))
    for contribution in (sealed, other):
        path = path_of(contribution)
        path.rename(path.with_name(contribution.file_digest))
    with opened_file(sealed) as path:
        assert path.read_bytes() == CONTENT
    with django_capture_on_commit_callbacks(execute=True):
        withdraw_contribution(contribution=other, actor=contributor)
    call_command("rotate_data_keys")
    assert [path.name for path in (media / "sealed").rglob("*") if path.is_file()] == [
        path_of(sealed).name
    ]
    with opened_file(sealed) as path:
        assert path.read_bytes() == CONTENT


def test_a_public_file_stays_plain(datanet: Datanet, contributor: User, give: Give) -> None:
    contribution = give(datanet, contributor, CONTENT)
    assert contribution.file_key is None
    assert blob_path(contribution.file_digest).read_bytes() == CONTENT


def test_a_restricted_file_is_sealed_too(owner: User, contributor: User, give: Give) -> None:
    from datanets.tests.conftest import make_datanet

    contribution = give(make_datanet(owner, "Halfway", "restricted"), contributor, CONTENT)
    assert contribution.file_key is not None


def test_it_is_read_again_with_its_columns(
    sealed: Contribution, contributor: User, media: Path
) -> None:
    mapping = {"instruction": "ask", "response": "tell"}
    done = choose_mapping(contribution=sealed, actor=contributor, mapping=mapping)
    assert done.records.get().response == SECRET.decode()
    assert not files_holding(media, b"4711")


@pytest.mark.django_db(transaction=True)
def test_a_job_reads_it(closed: Datanet, contributor: User, give: Give) -> None:
    contribution = give(closed, contributor, many_rows(5_500))
    assert contribution.state == "received"
    jobs.run_job(str(contribution.job_id))
    contribution.refresh_from_db()
    assert contribution.records.count() == 5_500


def test_the_open_file_has_no_name_and_is_gone_afterwards(sealed: Contribution) -> None:
    """Whatever kills the process, nothing plain is left on the disk."""
    with opened_file(sealed) as path:
        assert path.read_bytes() == CONTENT
        assert os.stat(path).st_nlink == 0
    assert not path.exists()


def test_a_file_that_came_in_parts_is_sealed_and_its_parts_go(
    closed: Datanet, contributor: User, media: Path,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:  # fmt: skip
    from datanets.services import discard_upload
    from datanets.services.receive_upload import path_of as parts_of

    begun = begin_upload(
        datanet=closed, owner=contributor, filename="a.jsonl", size_bytes=len(CONTENT)
    )
    whole = append_part(upload=begun, offset_bytes=0, chunks=[CONTENT])
    upload = Upload(parts_of(whole), "a.jsonl", whole.digest)
    contribution = submit_contribution(
        datanet=closed, contributor=contributor, upload=upload, licence="PSF-2.0", agreed=True
    )
    with django_capture_on_commit_callbacks(execute=True):
        discard_upload(upload=whole)
    assert not files_holding(media, b"4711")
    with opened_file(contribution) as path:
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["a byte", "the end", "another's", "gone"])
def test_a_changed_file_is_refused_in_words(
    sealed: Contribution, contributor: User, give: Give, change: str
) -> None:
    other = give(sealed.datanet, contributor, CONTENT.replace(b"4711", b"0815"))
    path, content = path_of(sealed), path_of(sealed).read_bytes()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {
                "a byte": content[:-1] + bytes([content[-1] ^ 1]),
                "the end": content[:-20],
                "another's": path_of(other).read_bytes(),
            }[change]
        )
    with pytest.raises(FileUnreadable, match="send the file again"):
        choose_mapping(
            contribution=sealed, actor=contributor,
            mapping={"instruction": "ask", "response": "tell"},
        )  # fmt: skip
    sealed.refresh_from_db()
    assert (sealed.state, sealed.records.count()) == ("needs_mapping", 0)


def test_the_last_withdrawal_destroys_the_key(
    sealed: Contribution, contributor: User, give: Give, media: Path,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:  # fmt: skip
    """Of a backup of the files nothing opens again then."""
    other = give(sealed.datanet, contributor, CONTENT.replace(b"4711", b"0815"))
    paths, key = [path_of(sealed), path_of(other)], DataKey.objects.get(use="files")
    with django_capture_on_commit_callbacks(execute=True):
        withdraw_contribution(contribution=sealed, actor=contributor)
    assert [path.exists() for path in paths] == [False, True]
    assert DataKey.objects.get(use="files") == key
    with django_capture_on_commit_callbacks(execute=True):
        withdraw_contribution(contribution=other, actor=contributor)
    assert not any(path.exists() for path in paths)
    assert not DataKey.objects.filter(use="files").exists()


def test_the_same_bytes_stored_under_two_names_both_go(
    sealed: Contribution, contributor: User, give: Give, media: Path,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:  # fmt: skip
    """Sent again between an upgrade and the command that renames what was there before it."""
    key = sealed.file_key
    assert key is not None
    path_of(sealed).rename(path_of(sealed).with_name(sealed.file_digest))
    again = give(sealed.datanet, contributor, CONTENT)
    give(sealed.datanet, contributor, CONTENT.replace(b"4711", b"0815"))  # keeps the key
    folder = media / "sealed" / str(key.public_id)
    assert len(list(folder.iterdir())) == 3
    for one in (sealed, again):
        with django_capture_on_commit_callbacks(execute=True):
            withdraw_contribution(contribution=one, actor=contributor)
    assert len(list(folder.iterdir())) == 1


def test_rows_are_taken_back_without_the_operators_key_too(
    sealed: Contribution, contributor: User, settings: Settings, as_user: Any
) -> None:
    """A key that was lost keeps nobody's rows here; the file opens for nobody either."""
    settings.DATA_KEYS = ["another secret"]
    _sealer_named.cache_clear()
    page: Client = as_user(contributor)
    assert page.get(reverse("datanets:contribution-list")).status_code == 200
    page.post(reverse("datanets:contribution-withdraw", args=[sealed.public_id]))
    left = Contribution.objects.defer(*Contribution.SEALED).get()
    assert (left.state, left.file_kept) == ("withdrawn", False)
    assert not DataKey.objects.filter(use="files").exists()


def test_equal_files_of_two_contributions_go_with_the_second(
    sealed: Contribution, contributor: User, give: Give,
    django_capture_on_commit_callbacks: OnCommit,
) -> None:  # fmt: skip
    other = give(sealed.datanet, contributor, CONTENT)
    with django_capture_on_commit_callbacks(execute=True):
        withdraw_contribution(contribution=sealed, actor=contributor)
    with opened_file(other) as path:
        assert path.read_bytes() == CONTENT


def test_a_key_destroyed_meanwhile_refuses_the_new_file(
    sealed: Contribution, contributor: User
) -> None:
    late = Contribution(datanet=sealed.datanet, file_key=DataKey.objects.get(use="files"))
    withdraw_contribution(contribution=sealed, actor=contributor)
    with pytest.raises(Conflict, match="Send it again"):
        hold_key(late)


def test_the_database_keeps_a_key_that_a_file_needs(sealed: Contribution) -> None:
    with pytest.raises(RestrictedError):
        DataKey.objects.all().delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        Contribution.objects.update(file_kept=False)


def test_the_key_lies_wrapped_and_each_datanet_has_its_own(
    sealed: Contribution, owner: User, contributor: User, give: Give
) -> None:
    from datanets.tests.conftest import make_datanet

    give(make_datanet(owner, "Another", "restricted"), contributor, CONTENT)
    first, second = DataKey.objects.filter(use="files")
    assert bytes(first.wrapped) != bytes(second.wrapped)
    assert len(first.wrapped) == 12 + 32 + 16


def test_rotation_wraps_the_keys_and_touches_no_file(
    sealed: Contribution, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    old, path = settings.DATA_KEYS[0], path_of(sealed)
    content = path.read_bytes()
    settings.DATA_KEYS = ["a new secret", old]
    call_command("rotate_data_keys")
    assert "2 keys wrapped anew" in capsys.readouterr().out
    settings.DATA_KEYS = ["a new secret"]
    with opened_file(Contribution.objects.get()) as opened:
        assert opened.read_bytes() == CONTENT
    assert path.read_bytes() == content
    settings.DATA_KEYS = [old]
    with pytest.raises(FileUnreadable), opened_file(Contribution.objects.get()):
        pass
    with pytest.raises(CommandError, match="does not hold"):
        call_command("rotate_data_keys")


def test_files_from_before_there_were_keys_are_sealed_by_the_command(
    datanet: Datanet, contributor: User, give: Give, media: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    contribution = give(datanet, contributor, CONTENT)
    Datanet.objects.update(visibility="private")
    assert files_holding(media, b"4711")
    call_command("rotate_data_keys")
    assert "1 files and" in capsys.readouterr().out
    assert not files_holding(media, b"4711")
    contribution.refresh_from_db()
    with opened_file(contribution) as path:
        assert path.read_bytes() == CONTENT


def test_a_datanet_goes_with_its_files_key(sealed: Contribution) -> None:
    Datanet.objects.filter(pk=sealed.datanet_id).delete()
    assert not DataKey.objects.exists()
