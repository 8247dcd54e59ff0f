"""The explorer's anchors: whose they are is said to those only who may see the Datanet."""

from __future__ import annotations

import re

import pytest
from django.http import HttpResponse
from django.test import Client

from datanets.models import Datanet

pytestmark = pytest.mark.django_db
PAGES = ["/rewards/explorer/", "/rewards/explorer/anchors/"]


def without_tokens(answered: HttpResponse) -> str:
    """The page without its CSRF token and without the root that was asked for."""
    return re.sub("(0x)?[0-9A-Za-z]{64}", "", answered.content.decode())


@pytest.mark.parametrize("page", PAGES)
def test_a_public_version_is_listed_with_its_root(client: Client, version, page) -> None:
    shown = client.get(page).content.decode()
    assert f"{version.datanet.name}, version 1" in shown
    assert version.anchor.root in shown
    assert version.get_absolute_url() in shown


@pytest.mark.parametrize("page", PAGES)
def test_a_private_version_is_listed_for_its_members_only(
    client: Client, as_user, owner, stranger, version, page
) -> None:
    Datanet.objects.filter(pk=version.datanet_id).update(visibility="private")
    root = version.anchor.root
    assert root in as_user(owner).get(page).content.decode()
    for visitor in (client, as_user(stranger)):
        shown = visitor.get(page).content.decode()
        assert root not in shown
        assert version.datanet.name not in shown
        assert "anchored yet" in shown or "No anchor yet" in shown


def test_a_hidden_root_is_looked_up_as_one_that_is_not_there(
    client: Client, as_user, owner, version
) -> None:
    root, unknown = version.anchor.root, "0x" + "0" * 64
    found = client.get(PAGES[0], {"q": root})
    assert found.headers["Location"] == version.get_absolute_url()
    Datanet.objects.filter(pk=version.datanet_id).update(visibility="private")
    hidden, missing = (client.get(PAGES[0], {"q": one}) for one in (root, unknown))
    assert hidden.status_code == missing.status_code == 200
    assert without_tokens(hidden) == without_tokens(missing)
    assert as_user(owner).get(PAGES[0], {"q": root}).status_code == 302
