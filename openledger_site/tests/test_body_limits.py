"""Only doors that take files take large bodies: each is on disk before any view can refuse it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.conf import settings
from django.urls import reverse

from datanets.services.receive_upload import PART_MAX_BYTES
from openledger_site.asgi import PAGE_BYTES, body_bytes_max

WHOLE = {
    "datanets:contribution-create": ["birds"],
    "datanets:api-contribution-list": ["birds"],
    "v1:file-list": [],
}
PARTS = {"datanets:api-upload-list": ["birds"], "datanets:api-upload-item": [uuid4()]}


@pytest.mark.parametrize("name", WHOLE)
def test_doors_for_whole_files_take_them(name: str) -> None:
    assert body_bytes_max(reverse(name, args=WHOLE[name])) > settings.UPLOAD_SIZE_MAX_BYTES


@pytest.mark.parametrize("name", PARTS)
def test_doors_for_parts_take_parts(name: str) -> None:
    limit = body_bytes_max(reverse(name, args=PARTS[name]))
    assert PART_MAX_BYTES < limit < settings.UPLOAD_SIZE_MAX_BYTES


def test_no_other_door_takes_more_than_a_long_form() -> None:
    for path in ("/", "/accounts/login/", "/datanets/new/", "/v1/chat/completions", "/v1/files/x"):
        assert body_bytes_max(path) == PAGE_BYTES <= 8 << 20
