"""/v1/files: the real OpenAI client gives rows, lists them, and takes them back."""

from __future__ import annotations

import openai
import pytest

from datanets.models import Contribution, Record
from datanets.tests.conftest import ROWS, jsonl
from openledger_site.accounts.services import create_api_key

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES = [
    {"messages": [{"role": "user", "content": row["question"]},
                  {"role": "assistant", "content": row["answer"]}]}
    for row in ROWS
]  # fmt: skip


@pytest.fixture
def client_of(live_server):
    def make(user, scope: str = "data") -> openai.OpenAI:
        _, secret = create_api_key(user, name="files", scopes=[scope])
        return openai.OpenAI(api_key=secret, base_url=f"{live_server.url}/v1", max_retries=0)

    return make


def give(client: openai.OpenAI, datanet, /, **changed: str):
    terms = {"datanet": datanet.slug, "licence": "PSF-2.0", "agree": "true", **changed}
    file = ("train.jsonl", jsonl(MESSAGES))
    return client.files.create(file=file, purpose="fine-tune", extra_body=terms)


def test_a_file_is_given_listed_looked_at_and_taken_back(client_of, datanet, contributor):
    client = client_of(contributor)
    given = give(client, datanet, source="own", method="written")
    assert (given.status, given.filename, given.purpose) == (
        "processed",
        "train.jsonl",
        "fine-tune",
    )
    contribution = Contribution.objects.get()
    assert (contribution.source, contribution.rows_accepted) == ("own", 3)
    assert given.bytes == contribution.size_bytes
    assert [one.id for one in client.files.list()] == [given.id]
    assert client.files.retrieve(given.id).created_at == given.created_at
    assert client.files.delete(given.id).deleted
    assert not list(client.files.list())
    assert set(Record.objects.values_list("state", flat=True)) == {"withdrawn"}
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(given.id)


def test_nobody_else_sees_or_deletes_it(client_of, datanet, contributor, stranger, owner):
    given = give(client_of(contributor), datanet)
    for other in (stranger, owner):
        assert not list(client_of(other).files.list())
        for ask in (client_of(other).files.retrieve, client_of(other).files.delete):
            with pytest.raises(openai.NotFoundError):
                ask(given.id)
    assert Contribution.objects.get().state == "in_review"


@pytest.mark.parametrize(
    ("changed", "where"),
    [({"datanet": ""}, "datanet"), ({"licence": "none"}, "licence"), ({"agree": ""}, "agree")],
)
def test_what_is_missing_is_named(client_of, datanet, contributor, changed, where):
    with pytest.raises(openai.UnprocessableEntityError) as refusal:
        give(client_of(contributor), datanet, **changed)
    assert refusal.value.body["where"] == where
    assert not Contribution.objects.exists()


def test_the_permissions_are_those_of_every_way_in(client_of, datanet, private, contributor):
    with pytest.raises(openai.PermissionDeniedError):
        give(client_of(contributor, "inference"), datanet)
    with pytest.raises(openai.NotFoundError):
        give(client_of(contributor), private)


def test_pages_follow_each_other(client_of, datanet, contributor):
    client = client_of(contributor)
    given = [give(client, datanet).id for _ in range(3)]
    first = client.files.list(limit=2)
    assert [one.id for one in first.data] == given[:0:-1]
    assert [one.id for one in first.get_next_page().data] == given[:1]
