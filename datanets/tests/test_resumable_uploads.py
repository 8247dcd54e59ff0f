"""A file in parts by tus 1.0.0: offsets are true, strangers see nothing, the whole is the whole."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from datanets.models import Contribution, ResumableUpload
from datanets.services import discard_upload, expire_uploads
from datanets.services.receive_upload import path_of
from datanets.tests.conftest import ROWS, jsonl
from openledger_site.accounts.services import create_api_key
from openledger_site.core.storage import blob_path

pytestmark = pytest.mark.django_db

CONTENT = jsonl(ROWS)
TUS = {"tus-resumable": "1.0.0"}
PART = "application/offset+octet-stream"
TERMS = {"licence": "PSF-2.0", "agree": "on"}


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def begin(client: Client, datanet, **headers):
    url = reverse("datanets:api-upload-list", args=[datanet.slug])
    metadata = f"filename {base64_of(b'rows.jsonl')}"
    sent = {**TUS, "upload-length": str(len(CONTENT)), "upload-metadata": metadata, **headers}
    return client.post(url, headers=sent)


def send(client: Client, url: str, part: bytes, offset: int, **headers):
    sent = {**TUS, "upload-offset": str(offset), **headers}
    return client.patch(url, part, content_type=PART, headers=sent)


def offset_at(client: Client, url: str) -> int:
    return int(client.head(url, headers=TUS)["Upload-Offset"])


@pytest.fixture
def browser(as_user, contributor) -> Client:
    return as_user(contributor)


@pytest.fixture
def url(browser, datanet) -> str:
    return begin(browser, datanet)["Location"]


@pytest.fixture
def whole(browser, url) -> str:
    assert send(browser, url, CONTENT, 0).status_code == 204
    return url


def give(client: Client, datanet, url: str, **fields):
    where = reverse("datanets:contribution-create", args=[datanet.slug])
    form = {**TERMS, "upload": url.split("/")[-2], **fields}
    return client.post(where, form, headers={"accept": "application/json"})


def test_a_file_in_two_parts_becomes_a_contribution_of_the_same_bytes(browser, datanet, url):
    first = send(browser, url, CONTENT[:50], 0)
    assert (first.status_code, first["Upload-Offset"]) == (204, "50")
    last = send(browser, url, CONTENT[50:], 50)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert last["Upload-Digest"] == digest
    assert give(browser, datanet, url, upload_digest=digest).status_code == 302
    contribution = Contribution.objects.get()
    assert (contribution.file_digest, contribution.rows_accepted) == (digest, 3)
    assert contribution.filename == "rows.jsonl"
    assert blob_path(digest).read_bytes() == CONTENT


def test_a_given_upload_is_gone_and_cannot_be_given_twice(
    browser, datanet, whole, django_capture_on_commit_callbacks
):
    path = path_of(ResumableUpload.objects.get())
    with django_capture_on_commit_callbacks(execute=True):
        give(browser, datanet, whole)
    assert not path.exists()
    assert give(browser, datanet, whole).status_code == 422
    assert Contribution.objects.count() == 1


def test_the_server_says_what_it_can(browser, datanet, settings):
    answer = browser.options(reverse("datanets:api-upload-list", args=[datanet.slug]))
    assert answer.status_code == 204
    assert answer["Tus-Version"] == "1.0.0"
    assert answer["Tus-Max-Size"] == str(settings.UPLOAD_RESUMABLE_MAX_BYTES)
    assert answer["Tus-Extension"] == "creation,checksum,expiration,termination"


def test_another_offset_is_refused_with_the_true_one(browser, url):
    send(browser, url, CONTENT[:50], 0)
    for wrong in (0, 49, 51):
        answer = send(browser, url, b"x", wrong)
        assert (answer.status_code, answer["Upload-Offset"]) == (409, "50")
    assert offset_at(browser, url) == 50


def test_a_part_that_was_changed_on_its_way_is_not_kept(browser, url):
    right = base64_of(hashlib.sha256(CONTENT[:50]).digest())
    answer = send(browser, url, b"#" * 50, 0, **{"upload-checksum": f"sha256 {right}"})
    assert answer.status_code == 460
    assert offset_at(browser, url) == 0
    answer = send(browser, url, CONTENT[:50], 0, **{"upload-checksum": f"sha256 {right}"})
    assert answer.status_code == 204


def test_what_a_crash_left_beyond_the_offset_is_cut_off(browser, url):
    """Bytes were on disk and the row was not yet written when the process was killed."""
    send(browser, url, CONTENT[:50], 0)
    with path_of(ResumableUpload.objects.get()).open("ab") as file:
        file.write(b"half a part")
    assert offset_at(browser, url) == 50
    answer = send(browser, url, CONTENT[50:], 50)
    assert answer["Upload-Digest"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_that_holds_less_than_the_row_says_lowers_the_offset(browser, url):
    send(browser, url, CONTENT[:50], 0)
    os.truncate(path_of(ResumableUpload.objects.get()), 20)
    assert offset_at(browser, url) == 20
    assert send(browser, url, CONTENT[50:], 50)["Upload-Offset"] == "20"
    answer = send(browser, url, CONTENT[20:], 20)
    assert answer["Upload-Digest"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_file_that_is_not_the_announced_one_is_destroyed(
    browser, datanet, django_capture_on_commit_callbacks
):
    digest = base64_of(b"0" * 64)
    metadata = f"filename {base64_of(b'rows.jsonl')},sha256 {digest}"
    url = begin(browser, datanet, **{"upload-metadata": metadata})["Location"]
    path = path_of(ResumableUpload.objects.get())
    with django_capture_on_commit_callbacks(execute=True):
        assert send(browser, url, CONTENT, 0).status_code == 460
    assert not ResumableUpload.objects.exists()
    assert not path.exists()


def test_a_sender_who_knows_another_digest_is_told_and_nothing_is_stored(browser, datanet, whole):
    assert give(browser, datanet, whole, upload_digest="0" * 64).status_code == 460
    assert not Contribution.objects.exists()


def test_half_a_file_is_not_given(browser, datanet, url):
    send(browser, url, CONTENT[:50], 0)
    answer = give(browser, datanet, url)
    assert answer.status_code == 422
    assert "not complete" in answer.json()["error"]["message"]


def test_only_its_owner_knows_an_upload(as_user, stranger, owner, datanet, whole):
    for person in (stranger, owner):
        client = as_user(person)
        assert client.head(whole, headers=TUS).status_code == 404
        assert send(client, whole, b"x", 0).status_code == 404
        assert client.delete(whole, headers=TUS).status_code == 404
        assert give(client, datanet, whole).status_code == 422
        listed = client.get(reverse("datanets:api-upload-list", args=[datanet.slug]))
        assert listed.json() == []
    assert ResumableUpload.objects.count() == 1


def test_a_private_datanet_takes_no_upload_of_a_stranger(as_user, stranger, private):
    assert begin(as_user(stranger), private).status_code == 404


def test_an_api_key_sends_parts_too(datanet, contributor):
    _, secret = create_api_key(contributor, name="k", scopes=["data"])
    program = Client(enforce_csrf_checks=True, headers={"authorization": f"Bearer {secret}"})
    url = begin(program, datanet)["Location"]
    assert send(program, url, CONTENT, 0).status_code == 204
    where = reverse("datanets:api-contribution-list", args=[datanet.slug])
    answer = program.post(where, {**TERMS, "upload": url.split("/")[-2]})
    assert answer.status_code == 201
    assert answer.json()["file_digest"] == hashlib.sha256(CONTENT).hexdigest()


def test_a_forged_request_sends_nothing(contributor, datanet):
    client = Client(enforce_csrf_checks=True)
    client.force_login(contributor, backend="django.contrib.auth.backends.ModelBackend")
    assert begin(client, datanet).status_code == 403
    assert not ResumableUpload.objects.exists()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"tus-resumable": "0.2.2"}, 412),
        ({"upload-length": "many"}, 400),
        ({"upload-length": "-1"}, 400),
        ({"upload-length": "9" * 19}, 400),
        ({"upload-length": str(6 << 30)}, 413),
        ({"upload-length": "0"}, 422),
        ({"upload-metadata": "filename !"}, 400),
        ({"upload-metadata": f"sha256 {base64_of(b'short')}"}, 400),
    ],
)
def test_a_beginning_that_makes_no_sense_is_refused(browser, datanet, headers, status):
    answer = begin(browser, datanet, **headers)
    assert answer.status_code == status
    assert answer.json()["error"]["where"]
    assert not ResumableUpload.objects.exists()


def test_a_part_that_makes_no_sense_is_refused(browser, url, monkeypatch):
    assert send(browser, url, CONTENT + b"x", 0).status_code == 413
    assert browser.patch(url, b"x", content_type="text/plain", headers=TUS).status_code == 415
    assert send(browser, url, b"x", 0, **{"upload-offset": "x"}).status_code == 400
    assert send(browser, url, b"x", 0, **{"upload-checksum": "md5 eA=="}).status_code == 400
    monkeypatch.setattr("datanets.services.receive_upload.PART_MAX_BYTES", 8)
    assert send(browser, url, b"123456789", 0).status_code == 413
    assert offset_at(browser, url) == 0


def test_unfinished_files_of_one_person_have_a_quota(browser, datanet, settings):
    settings.UPLOAD_QUOTA_BYTES = 2 * len(CONTENT)
    assert [begin(browser, datanet).status_code for _ in range(3)] == [201, 201, 413]
    discard_upload(upload=ResumableUpload.objects.first())
    assert begin(browser, datanet).status_code == 201


def test_unfinished_files_of_one_person_have_a_number(browser, datanet, monkeypatch):
    monkeypatch.setattr("datanets.services.receive_upload.UPLOADS_OPEN_MAX", 1)
    assert [begin(browser, datanet).status_code for _ in range(2)] == [201, 409]


def test_what_nobody_went_on_with_expires(browser, url, django_capture_on_commit_callbacks):
    send(browser, url, CONTENT[:50], 0)
    path = path_of(ResumableUpload.objects.get())
    orphan = path.with_name("00000000-0000-4000-8000-000000000000")
    orphan.touch()
    os.utime(orphan, (time.time() - 10**6,) * 2)
    assert expire_uploads() == 0
    assert path.exists()
    assert not orphan.exists()
    ResumableUpload.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert browser.head(url, headers=TUS).status_code == 404
    with django_capture_on_commit_callbacks(execute=True):
        assert expire_uploads() == 1
    assert not path.exists()


def test_an_upload_is_cancelled(browser, url):
    assert browser.delete(url, headers=TUS).status_code == 204
    assert browser.head(url, headers=TUS).status_code == 404


def test_the_page_shows_what_was_begun_and_discards_it(browser, datanet, whole):
    page = reverse("datanets:contribution-create", args=[datanet.slug])
    assert b"rows.jsonl" in browser.get(page).content
    upload = ResumableUpload.objects.get()
    answer = browser.post(reverse("datanets:upload-discard", args=[upload.public_id]))
    assert answer["Location"] == page
    assert b"rows.jsonl" not in browser.get(page).content


def test_a_form_with_a_mistake_keeps_the_upload_chosen(browser, datanet, whole):
    page = reverse("datanets:contribution-create", args=[datanet.slug])
    answer = browser.post(page, {"licence": "PSF-2.0", "upload": whole.split("/")[-2]})
    assert answer.status_code == 422
    assert b"checked" in answer.content.split(b'name="upload"')[1].split(b">")[0]
