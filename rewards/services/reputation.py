"""Reputations measured from the books, and written to soulbound tokens on request."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from openledger_site.accounts.models import User, Wallet
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from rewards.models import ChainTransaction, Reputation, ReputationIssue
from rewards.reputation import FORMULA
from rewards.selectors.money import wallet_addresses_of
from rewards.selectors.reputation import NOTHING, Grounds, grounds_of
from rewards.services.chain import ContractsMissing, contract_addresses
from rewards.services.sender import queue_transaction

ROWS_AT_ONCE = 1_000
_NUMBERS = ("score", "formula", "payers", "voices", "rejections", "faults", "measured_at")


def measure_reputations() -> int:
    """Measure everybody anew; returns how many have evidence. Safe to run at any time."""
    found = grounds_of()
    known = Reputation.objects.values_list("user", flat=True)
    rows = [_row(person, found.get(person, NOTHING)) for person in sorted({*found, *known})]
    with transaction.atomic():
        Reputation.objects.bulk_create(
            rows,
            batch_size=ROWS_AT_ONCE,
            update_conflicts=True,
            unique_fields=["user"],
            update_fields=_NUMBERS,
        )
    return len(found)


def _row(person: int, grounds: Grounds) -> Reputation:
    evidence = grounds.evidence
    return Reputation(
        user_id=person,
        score=evidence.score,
        formula=FORMULA,
        payers=len(grounds.paid_wei),
        voices=evidence.voices,
        rejections=evidence.rejections,
        faults=evidence.faults,
        measured_at=Now(),
    )


class NotIssuable(Conflict):
    code = "reputation_not_issuable"


def issue_reputation(user: User, address: str) -> ReputationIssue:
    """Queue the writing of a person's reputation to the token of one of their wallets.

    Raises `NotIssuable` (409) without a reputation, for a wallet that is not theirs, while a
    writing is under way, and before the last one is `REPUTATION_ISSUE_SECONDS` old: the site pays
    the gas. Raises `ContractsMissing` where the token is not deployed.
    """
    with transaction.atomic():
        reputation = Reputation.objects.select_for_update().filter(user=user, score__gt=0).first()
        if reputation is None:
            raise NotIssuable("You have no reputation to show yet.")
        if address not in wallet_addresses_of(user):
            raise NotIssuable("Choose a wallet that is linked to your account.")
        _refuse_too_soon(user)
        if not contract_addresses().reputation:
            raise ContractsMissing("The reputation token is not deployed on this chain.")
        measured_at = int(reputation.measured_at.timestamp())
        queued = queue_transaction(
            "reputation",
            subject=f"{address}:{measured_at}",
            holder=address,
            score=reputation.score,
            formula=reputation.formula,
            measured_at=measured_at,
        )
        issue = ReputationIssue.objects.create(
            user=user,
            address=address,
            score=reputation.score,
            formula=reputation.formula,
            measured_at=reputation.measured_at,
            chain_transaction=queued,
        )
        record_audit("reputation.issue", actor=user, subject=f"person:{user.public_id}")
    return issue


def _refuse_too_soon(user: User) -> None:
    written = ReputationIssue.objects.filter(user=user, score__isnull=False)
    if written.exclude(chain_transaction__state__in=ChainTransaction.ENDED).exists():
        raise NotIssuable("Your last writing is still on its way.")
    pause = timedelta(seconds=settings.REPUTATION_ISSUE_SECONDS)
    recent = written.filter(created_at__gt=Now() - pause)
    if recent.exclude(chain_transaction__state=ChainTransaction.State.FAILED).exists():
        raise NotIssuable("It was written not long ago. Come back tomorrow.")


def take_back_reputations() -> int:
    """Queue the burning of tokens whose wallet is no longer its person's; returns how many.

    One that is still being written waits for the next look: there is nothing to burn yet.
    """
    newest = ReputationIssue.objects.order_by("address", "-id").distinct("address")
    theirs = Wallet.objects.filter(
        user=OuterRef("user"), address=OuterRef("address"), unlinked_at__isnull=True
    )
    orphans = (
        ReputationIssue.objects.filter(pk__in=newest.values("pk"), score__isnull=False)
        .exclude(Exists(theirs))
        .filter(chain_transaction__state=ChainTransaction.State.FINAL)
    )
    for issue in orphans:
        with transaction.atomic():
            queued = queue_transaction(
                "burn-reputation",
                subject=f"{issue.address}:{issue.pk}",
                holder=issue.address,
            )
            ReputationIssue.objects.create(
                user_id=issue.user_id,
                address=issue.address,
                formula=issue.formula,
                measured_at=issue.measured_at,
                chain_transaction=queued,
            )
    return len(orphans)
