"""Claims on a real chain, and what a reorganisation makes of them."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User
from openledger_site.core.waiting import rounds
from rewards.models import Claim
from rewards.selectors import claims_open_for, earnings_summary
from rewards.services import (
    advance_epochs,
    close_epoch,
    reconcile,
    release_earnings,
    send_transactions,
    watch_chain,
)
from rewards.tests.conftest import OPEN, Wallets, settled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def test_a_claim_whose_block_left_the_chain_is_claimed_again(
    wallets: Wallets, consumer: User, contributor: User, settings: Settings
) -> None:
    settings.EARNINGS_HOLDING_SECONDS = 0
    payer, signer = wallets.new(10), wallets.new()
    wallets.link(consumer, payer)
    wallets.link(contributor, signer)
    wallets.deposit(payer, 10 * OPEN)
    wallets.finalize()
    watch_chain()
    settled(consumer, None, contributor, "a")
    release_earnings()
    epoch = close_epoch(actor=None)
    for _ in rounds(30, pause_seconds=0.01):
        advance_epochs()
        send_transactions()
        epoch.refresh_from_db()
        if epoch.state == "active":
            break
    wallets.finalize()
    before = wallets.client.latest_block().number
    for applications in (1, 2):
        (claim,) = claims_open_for(contributor)
        assert earnings_summary(contributor).claimable_wei == claim.amount_wei
        wallets.claim(signer, claim)
        wallets.finalize()
        watch_chain()
        assert earnings_summary(contributor).claimable_wei == 0
        if applications == 1:
            depth = wallets.client.latest_block().number - before
            wallets.client.request("anvil_reorg", depth, [])
            wallets.finalize()
            watch_chain()
    assert sorted(Claim.objects.values_list("state", flat=True)) == ["paid", "voided"]
    assert earnings_summary(contributor).claimed_wei == OPEN * 70 // 100
    assert reconcile().ok
