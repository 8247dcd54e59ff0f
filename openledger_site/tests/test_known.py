"""The file of everything that the site keeps about a person: whole, and about nobody else."""

from __future__ import annotations

import json

import pytest
from django.test import Client
from django.urls import reverse

from datanets.models import Datanet, Membership
from openledger_site.accounts.models import User, Wallet
from openledger_site.accounts.services import create_api_key

pytestmark = pytest.mark.django_db

TOLD = {
    "account.EmailAddress", "accounts.ApiKey", "accounts.Wallet",
    "datanets.AccessGrant", "datanets.Contribution", "datanets.Datanet", "datanets.Membership",
    "datanets.Review",
    "marketplace.Agent", "marketplace.Dispute", "marketplace.Inference", "marketplace.SpendingCap",
    "modelfactory.Model", "modelfactory.Run",
    "rewards.Deposit", "rewards.EarningLine", "rewards.RefundRequest", "rewards.Relay",
    "rewards.Reputation", "rewards.SlashAppeal", "rewards.Withdrawal",
}  # fmt: skip
TOLD_BY = {
    "admin.LogEntry": "what staff did; the audit log says it of everybody",
    "core.Job": "the thing that the job was about",
    "datanets.ResumableUpload": "the contribution that it becomes, or gone within days",
    "marketplace.AgentTakedown": "the audit log",
    "marketplace.AnswerShare": "the earning",
    "mfa.Authenticator": "a secret, shown by nothing",
    "rewards.Account": "the entries of the statement",
    "rewards.Asset": "the audit log, and public on the chain",
    "rewards.EpochPayout": "the entry of the statement, and the public leaf file",
    "rewards.ReputationIssue": "public on the chain",
    "rewards.Settlement": "the question and answer that it pays",
    "rewards.SignedPayment": "the question and answer that it pays",
    "rewards.SlashCase": "public in the explorer",
}


def file_of(user: User) -> list[dict[str, object]]:
    client = Client()
    client.force_login(user)
    response = client.get(reverse("accounts:known"))
    assert response["Content-Disposition"].endswith('.json"')
    return json.loads(b"".join(response.streaming_content))


def test_every_table_that_names_a_person_is_told_or_said_why_not() -> None:
    naming = {relation.related_model._meta.label for relation in User._meta.related_objects}
    assert naming == TOLD | TOLD_BY.keys()


def test_it_holds_what_is_theirs_and_nothing_of_others(owner: User, stranger: User) -> None:
    Wallet.objects.create(user=owner, address="0x" + "Ab" * 20, chain_id=31337)
    create_api_key(owner, name="laptop", scopes=["data"])
    create_api_key(stranger, name="not mine", scopes=["data"])
    datanet = Datanet.objects.create(slug="birds", name="Birds", owner=owner, licence="CC0-1.0")
    Membership.objects.create(datanet=datanet, user=owner, role="owner")
    told = file_of(owner)
    kinds = {str(row["what"]) for row in told}
    assert kinds == {
        "account", "wallet", "API key", "Datanet", "role in a Datanet", "entry of the audit log",
    }  # fmt: skip
    assert next(row for row in told if row["what"] == "account")["email"] == owner.email
    text = json.dumps(told)
    assert "laptop" in text
    assert "not mine" not in text
    assert str(stranger.email) not in text
    assert "digest" not in text  # of a key


def test_an_empty_account_has_a_file_too(stranger: User) -> None:
    assert [row["what"] for row in file_of(stranger)] == ["account"]
