"""One thread of the product, private from end to end, made through the services that pages use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone

from datanets.models import Contribution, Membership, Record, Review, SecondLook
from datanets.services import (
    Upload,
    ask_to_look_again,
    begin_upload,
    create_datanet,
    cut_version,
    decide_grant,
    make_gold,
    request_access,
    review_all,
    revoke_grant,
    submit_contribution,
)
from marketplace.models import Inference
from marketplace.services import (
    Answering,
    Sampling,
    ask_for_refund,
    finish_answer,
    make_agent,
    raise_dispute,
    reserve_answer,
    settle_inference,
)
from marketplace.services.stream_answer import Meter
from modelfactory.models import AttributionIndex, BaseModel, EvaluationResult, Run
from modelfactory.services import publish_model, start_run
from openledger_site.accounts.models import User, Wallet
from openledger_site.accounts.services import create_api_key
from openledger_site.core.jobs import Lease
from openledger_site.core.models import Job
from rewards.models import (
    Account,
    Asset,
    ChainTransaction,
    Epoch,
    EpochPayout,
    Proposal,
    Relay,
    Reputation,
    SlashCase,
    VestingGrant,
    Withdrawal,
)
from rewards.services.ledger import post, system_account, user_account

OPEN = 10**18
ROWS = [
    {"question": "What does KeyError mean?", "answer": "Mapping key not found."},
    {"question": "What does EOFError mean?", "answer": "Read beyond end of file."},
]
PENDING_ROW = {"question": "Why is the canary yellow?", "answer": "So it is seen in the mine."}


@dataclass
class Thread:
    """People by name, and the things they made; every thing is private to those it belongs to."""

    people: dict[str, User]
    things: SimpleNamespace


@pytest.fixture(scope="module")
def thread(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any
) -> Iterator[Thread]:
    """Made once for a module, inside a transaction that is rolled back after its last test."""
    folder = tmp_path_factory.mktemp("thread")
    media = folder / "media"
    storages = {**settings.STORAGES}
    storages["default"] = {**storages["default"], "OPTIONS": {"location": str(media)}}
    changed = {
        f"{name}_DIR": media / name for name in ("RUNS", "ADAPTERS", "ATTRIBUTION", "GUARDS")
    }
    with (
        override_settings(MEDIA_ROOT=media, STORAGES=storages, **changed),
        django_db_blocker.unblock(),
        transaction.atomic(),
    ):
        yield _make_thread(folder)
        transaction.set_rollback(True)


def _make_thread(folder: Path) -> Thread:
    names = ("Olive", "Carla", "Rene", "Bo", "Rita", "Sam", "Stella", "Vic")
    people = {
        name: User.objects.create_user(f"{name}@example.org", display_name=name) for name in names
    }
    User.objects.filter(pk=people["Stella"].pk).update(is_staff=True)
    things = SimpleNamespace()
    _give_data(people, things, folder)
    _learn(people, things)
    _ask(people["Bo"], things)
    _want_back(people["Bo"], things)
    _doubt(people["Carla"], things)
    _account(people["Bo"], things)
    _close_epoch(things)
    _propose(things)
    _slash(people["Stella"], things)
    _make_asset(things)
    _grant_over_time(things)
    _withdraw(people["Bo"], things)
    _send_for(things)
    return Thread(people, things)


def _give_data(people: dict[str, User], things: SimpleNamespace, folder: Path) -> None:
    owner, curator = people["Olive"], people["Rene"]
    datanet = create_datanet(
        owner=owner, name="Secret errors", description="Private.", licence="PSF-2.0",
        visibility="private",
    )  # fmt: skip
    for name, role in (("Carla", "contributor"), ("Rene", "curator"), ("Rita", "reader")):
        Membership.objects.create(datanet=datanet, user=people[name], role=role)
    approved = _contribute(datanet, people["Carla"], folder, ROWS)
    review_all(records=Record.objects.all(), datanet=datanet, reviewer=curator, verdict="approve")
    things.version = cut_version(datanet=datanet, actor=owner, note="First")
    pending = _contribute(datanet, people["Carla"], folder, [PENDING_ROW])
    things.upload = begin_upload(
        datanet=datanet, owner=people["Carla"], filename="half a mine.jsonl", size_bytes=100
    )
    grant = request_access(datanet=datanet, user=people["Bo"], right="train", purpose="Errors")
    things.grant = decide_grant(grant=grant, actor=owner, granted=True)
    revoked = request_access(datanet=datanet, user=people["Vic"], right="read", purpose="Errors")
    decide_grant(grant=revoked, actor=owner, granted=True)
    things.revoked_grant = revoke_grant(grant=revoked, actor=owner, answer="Not as agreed")
    things.datanet, things.contribution, things.pending = datanet, approved, pending
    things.record, things.pending_record = approved.records.all()[0], pending.records.all()[0]
    ask_to_look_again(
        record_ids=[things.record.public_id],
        source=SecondLook.Source.READER,
        note="Is it so?",
        opened_by=people["Rita"],
    )
    things.look = SecondLook.objects.get()
    make_gold(record=things.record, actor=owner, explanation="As the manual says it.")
    things.review, things.membership = (
        Review.objects.all()[0],
        datanet.memberships.get(role="reader"),
    )


def _contribute(datanet: Any, person: User, folder: Path, rows: list[Any]) -> Contribution:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return submit_contribution(
        datanet=datanet, contributor=person, upload=Upload(path, "rows.jsonl"), licence="PSF-2.0",
        agreed=True,
    )  # fmt: skip


def _learn(people: dict[str, User], things: SimpleNamespace) -> None:
    base = BaseModel.objects.create(
        slug="small", name="Small", source="small", digest="d" * 64, parameter_count=1_000_000,
        size_bytes=4_000_000, context_tokens=256, hidden_size=64, layer_count=2,
        vocabulary_size=512,
    )  # fmt: skip
    recipe = {"builder": people["Bo"], "version": things.version, "base": base, "effort": "quick"}
    things.run = start_run(name="Waiting", **recipe)
    things.settled_run, unpublished = (
        start_run(name="Done", **recipe),
        start_run(name="B", **recipe),
    )
    for run, digest in ((things.settled_run, "e" * 64), (unpublished, "f" * 64)):
        Run.objects.filter(pk=run.pk).update(adapter_digest=digest, settled_at=Now())
    things.unpublished_run = unpublished
    for position, row in enumerate(ROWS):
        EvaluationResult.objects.create(
            run=things.settled_run, position=position, retrieved=False, question=row["question"],
            record_id=str(things.version.entries.all()[position].record.public_id),
            expected=row["answer"], base_answer="", tuned_answer=row["answer"],
            base_correct=False, tuned_correct=True,
        )  # fmt: skip
    things.settled_run.refresh_from_db()
    things.index = AttributionIndex.objects.create(
        adapter_digest="e" * 64, run=things.settled_run, digest="1" * 64, ready_at=Now()
    )
    things.model = publish_model(
        things.settled_run, name="Secret", slug="secret-errors", card="", visibility="private",
        price_prompt_wei=OPEN, price_completion_wei=OPEN, platform_fee_wei=1,
    )  # fmt: skip
    # For everybody who may use its model, which is Bo alone.
    things.agent = make_agent(
        owner=people["Bo"], model=things.model, slug="secret-agent", name="Secret errors, told",
        summary="Secret errors.", visibility="public", answering=Answering("", "look_up", 8),
    )  # fmt: skip


def _ask(consumer: User, things: SimpleNamespace) -> None:
    """One answer, paid and settled; its attribution is given up, as happens to a lost index."""
    custody = system_account(Account.Kind.CUSTODY)
    purse = user_account(consumer, Account.Kind.SPENDABLE)
    post(
        key="deposit",
        kind="deposit",
        legs=[(custody, -9000 * OPEN), (purse, 9000 * OPEN)],
        reason="D",
    )
    asked = [{"role": "user", "content": "What does KeyError mean?"}]
    things.inference, _ = reserve_answer(
        consumer=consumer, model=things.model, messages=asked, sampling=Sampling(), channel="chat"
    )
    meter = Meter(["Key."], [1, 2], [3, 4], 2, 2, "stop")
    finish_answer(things.inference.pk, meter)
    AttributionIndex.objects.update(ready_at=None)
    things.inference = Inference.objects.get(pk=things.inference.pk)
    Job.objects.filter(pk=things.inference.job_id).update(
        state="running", attempt=5, lease_until=Now()
    )
    settle_inference(Lease(Job.objects.get(pk=things.inference.job_id)))
    AttributionIndex.objects.update(ready_at=Now())


def _want_back(consumer: User, things: SimpleNamespace) -> None:
    things.refund = ask_for_refund(
        inference=Inference.objects.get(pk=things.inference.pk), asked_by=consumer,
        reason="unusable",
    )  # fmt: skip


def _doubt(contributor: User, things: SimpleNamespace) -> None:
    things.dispute = raise_dispute(
        inference=things.inference, raised_by=contributor, reason="Mapping key not found.",
        records=[str(things.record.public_id)],
    )  # fmt: skip


def _account(person: User, things: SimpleNamespace) -> None:
    things.wallet = Wallet.objects.create(user=person, address="0x" + "Ab" * 20, chain_id=31337)
    things.api_key, things.secret = create_api_key(person, name="k", scopes=["inference"])


def _close_epoch(things: SimpleNamespace) -> None:
    from openledger_site.core.storage import store_bytes

    dust, custody = system_account(Account.Kind.DUST), system_account(Account.Kind.CUSTODY)
    row = post(key="epoch:1", kind="epoch", legs=[(dust, 1), (custody, -1)], reason="Epoch 1")
    things.epoch = Epoch.objects.create(
        number=1, root="0x" + "a" * 64, leaves=1, amount_wei=1, total_wei=1,
        leaf_file=store_bytes(b'{"leaves": []}'), distributor="0x" + "1" * 40, chain_id=31337,
        transaction=row,
    )  # fmt: skip
    things.payout = EpochPayout.objects.create(
        epoch=things.epoch, user=things.datanet.owner, address="0x" + "8" * 40, amount_wei=1,
        cumulative_wei=1,
    )  # fmt: skip
    things.reputation = Reputation.objects.create(
        user=things.datanet.owner, score=500, formula=1, payers=10, voices=10.0, rejections=0.0,
        faults=0.0,
    )  # fmt: skip


def _slash(staff: User, things: SimpleNamespace) -> None:
    """A decided slash as its page shows it; its path through the chain is tested in rewards."""
    things.stake_kind, things.row_kind = "datanet", "contribution"
    things.slash = SlashCase.objects.create(
        chain_id=31337, target="0x" + "6" * 64, subject=f"datanet:{things.datanet.public_id}",
        amount_wei=1, decision="Half a mine.", evidence="0x" + "7" * 64, decided_by=staff,
        owner=things.datanet.owner,
    )  # fmt: skip


def _make_asset(things: SimpleNamespace) -> None:
    """A token as the watcher books it; its path through the chain is tested in rewards."""
    subject = f"datanet:{things.datanet.public_id}"
    queued = ChainTransaction.objects.create(
        chain_id=31337, purpose="asset", subject=subject, state="queued", arguments={}
    )
    things.asset = Asset.objects.create(
        chain_id=31337, subject=subject, token_id="0x" + "5" * 64, metadata="{}",
        metadata_digest="0x" + "4" * 64, royalty_bps=0, maker=things.datanet.owner,
        maker_address="0x" + "3" * 40, holder="0x" + "3" * 40, chain_transaction=queued,
    )  # fmt: skip


def _grant_over_time(things: SimpleNamespace) -> None:
    """A grant as the watcher books it, all of it unlocked; its chain is tested in rewards."""
    wallet = Wallet.objects.create(
        user=things.datanet.owner, address="0x" + "2" * 40, chain_id=31337
    )
    things.vesting = VestingGrant.objects.create(
        chain_id=31337, transaction_hash="0x" + "8" * 64, log_index=0, block_number=1,
        block_hash="0x" + "2" * 64, grant_id="0x" + "9" * 64, beneficiary=wallet.address,
        wallet="0x" + "7" * 40, amount_wei=2 * OPEN, start=1, cliff_seconds=0, duration_seconds=1,
        owner=wallet.address, allocation_wei=2 * OPEN,
    )  # fmt: skip


def _withdraw(person: User, things: SimpleNamespace) -> None:
    """A withdrawal under way; its path through the books and the chain is tested in rewards."""
    queued = ChainTransaction.objects.create(
        chain_id=31337, purpose="withdraw", subject="balance:1", state="queued", arguments={}
    )
    moved = post(
        key="withdraw:1", kind="withdrawal", reason="Withdrawn",
        legs=[
            (user_account(person, Account.Kind.SPENDABLE), -1),
            (system_account(Account.Kind.WITHDRAWING), 1),
        ],
    )  # fmt: skip
    things.withdrawal = Withdrawal.objects.create(
        user=person, chain_id=31337, address="0x" + "1" * 40, amount_wei=1,
        escrow_id="0x" + "1" * 64, transaction=moved, chain_transaction=queued,
    )  # fmt: skip


def _send_for(things: SimpleNamespace) -> None:
    """A transaction whose fee is paid in OPEN; its path through the chain is tested in rewards."""
    queued = ChainTransaction.objects.create(
        chain_id=31337, purpose="relay", subject="relay:1", state="queued", arguments={}
    )
    things.relay = Relay.objects.create(
        user=things.datanet.owner, chain_id=31337, account="0x" + "2" * 40, action="deposit",
        quote_digest="1" * 64, gas_limit=1, max_fee_per_gas_wei=1, open_per_eth=1, quoted_wei=1,
        chain_transaction=queued,
    )  # fmt: skip


def _propose(things: SimpleNamespace) -> None:
    """A proposal as the watcher books it; its path through the chain is tested in rewards."""
    now = timezone.now()
    things.action = "fee-split"
    things.proposal = Proposal.objects.create(
        chain_id=31337, transaction_hash="0x" + "1" * 64, log_index=0, block_number=1,
        block_hash="0x" + "2" * 64, governor="0x" + "3" * 40, proposal_id="1",
        proposer="0x" + "4" * 40, actions=[], title="Change", description_hash="0x" + "5" * 64,
        vote_start=now, vote_end=now,
    )  # fmt: skip
