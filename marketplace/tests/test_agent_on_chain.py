"""An agent as a stake target and as an asset, on a real chain."""

from __future__ import annotations

import json

import pytest
from pytest_django.fixtures import Settings

from marketplace.models import Agent
from marketplace.services import Sampling, reserve_answer
from marketplace.tests.conftest import OPEN, World, delivered, run_attempt
from openledger_site.accounts.models import User
from rewards.models import Asset, AssetTransfer, IncomePayment, StakerShare
from rewards.selectors.assets import income_owner
from rewards.selectors.stakes import subject_for
from rewards.services import (
    has_stakers,
    plan_income_round,
    reconcile,
    register_asset,
    send_transactions,
)
from rewards.tests.conftest import Wallets, local_chain, wallets
from rewards.tests.test_stake_income import put_stake, see, until_done

__all__ = ["local_chain", "wallets"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def test_those_who_stake_on_an_agent_are_paid_from_answers_given_through_it(
    bot: Agent, wallets: Wallets, consumer: User, world: World, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 0
    signer = wallets.new(10)
    wallets.link(consumer, signer)
    wallets.deposit(signer, 10 * OPEN)
    assert not has_stakers(bot.subject)
    put_stake(wallets, 5, bot.subject)
    assert has_stakers(bot.subject)
    asked = [{"role": "user", "content": world.question}]
    given = {"consumer": consumer, "model": bot.model, "agent": bot, "channel": "api"}
    inference, _ = reserve_answer(messages=asked, sampling=Sampling(), **given)
    run_attempt(delivered(inference, world))
    share = StakerShare.objects.get(subject=bot.subject)
    assert plan_income_round() is not None
    until_done(wallets)
    payment = IncomePayment.objects.get(subject=bot.subject)
    assert (payment.state, payment.amount_wei) == ("paid", share.amount_wei)
    assert reconcile().problems["I8"] == []
    assert reconcile().ok


def test_whoever_holds_the_token_of_an_agent_is_paid_what_its_maker_asks(
    bot: Agent, wallets: Wallets, stranger: User, builder: User
) -> None:
    signer = wallets.new(1)
    wallets.link(stranger, signer)
    subject = subject_for(stranger, "agent", bot.public_id)
    register_asset(subject=subject, maker=stranger, address=signer.address, royalty_bps=100)
    send_transactions()
    see(wallets)
    asset = Asset.objects.get()
    assert asset.holder == signer.address
    document = json.loads(asset.metadata)
    assert "paid what its maker asks" in document["description"]
    other = wallets.new(1)
    wallets.link(builder, other)
    assert income_owner(bot.subject, stranger) == stranger
    Asset.objects.update(holder=other.address)
    AssetTransfer.objects.update(receiver=other.address)
    assert income_owner(bot.subject, stranger) == builder
    # The owner's part of the model's price is the model's, whoever holds the agent's token.
    assert income_owner(f"model:{bot.model.public_id}", stranger) == stranger
