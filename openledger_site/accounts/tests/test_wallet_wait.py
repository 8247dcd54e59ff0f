"""A wallet that was added to an account waits before money goes to it, and its owner is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from openledger_site.accounts.services import mail_about_wallet
from openledger_site.accounts.tests.test_wallet_sign_in import ALICE, answer, challenge, sign_in
from openledger_site.core.models import OutboxMessage

pytestmark = pytest.mark.django_db
A_DAY = 86_400


@pytest.fixture(autouse=True)
def _a_day(settings: Settings) -> None:
    settings.WALLET_WAIT_SECONDS = A_DAY


def link(client: Client) -> Wallet:
    text = challenge(client, purpose="link").json()["message"]
    assert answer(client, text, purpose="link").status_code == 200
    return Wallet.objects.get(address=ALICE.address)


def hours_left(wallet: Wallet) -> int:
    return round((wallet.paid_from - timezone.now()) / timedelta(hours=1))


def test_a_wallet_that_is_added_to_an_account_waits(client: Client, consumer: User) -> None:
    client.force_login(consumer)
    wallet = link(client)
    assert wallet.waits
    assert hours_left(wallet) == 24


def test_the_wallet_that_an_account_was_made_with_does_not_wait(client: Client) -> None:
    assert sign_in(client).status_code == 200
    assert not Wallet.objects.get().waits


def test_linking_it_again_does_not_start_the_wait_anew(client: Client, consumer: User) -> None:
    client.force_login(consumer)
    paid_from = link(client).paid_from
    assert link(client).paid_from == paid_from


def test_a_wallet_that_comes_back_waits_again(client: Client, consumer: User) -> None:
    client.force_login(consumer)
    wallet = link(client)
    Wallet.objects.update(paid_from=timezone.now() - timedelta(days=9))
    assert client.post(reverse("accounts:wallet-unlink", args=[wallet.pk])).status_code == 302
    assert hours_left(link(client)) == 24


def test_the_owner_is_told_by_mail_what_happened_and_what_to_do(
    client: Client, consumer: User
) -> None:
    client.force_login(consumer)
    wallet = link(client)
    assert [OutboxMessage.objects.get().arguments] == [{"wallet_id": wallet.pk}]
    assert mail_about_wallet(wallet.pk) == 1
    (message,) = mail.outbox
    assert message.to == [consumer.email]
    assert "was linked to your account" in message.subject
    assert f"{wallet.paid_from:%d %B %Y at %H:%M} UTC" in message.body
    assert reverse("accounts:profile") in message.body


def test_the_owner_is_told_when_a_wallet_is_unlinked(client: Client, consumer: User) -> None:
    client.force_login(consumer)
    wallet = link(client)
    client.post(reverse("accounts:wallet-unlink", args=[wallet.pk]))
    assert OutboxMessage.objects.count() == 2
    assert mail_about_wallet(wallet.pk) == 1
    assert "was unlinked from your account" in mail.outbox[0].subject


def test_nobody_is_told_of_a_wallet_without_a_mailbox(client: Client) -> None:
    sign_in(client)
    assert not OutboxMessage.objects.exists()
    assert mail_about_wallet(Wallet.objects.get().pk) == 0


@pytest.mark.parametrize("page", ["accounts:profile", "rewards:overview", "rewards:earnings"])
def test_pages_say_from_when_a_wallet_is_paid(client: Client, consumer: User, page: str) -> None:
    client.force_login(consumer)
    wallet = link(client)
    said = client.get(reverse(page)).content.decode()
    assert f'<time datetime="{timezone.localtime(wallet.paid_from).isoformat()}">' in said
