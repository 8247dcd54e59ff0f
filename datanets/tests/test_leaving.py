"""Who closes their account hands Datanets over before, and takes rows and rights along."""

from __future__ import annotations

import pytest

from datanets.models import AccessGrant, Contribution, Datanet, Membership, Record
from datanets.selectors import rights_of
from datanets.services import begin_upload, set_member
from datanets.services.errors import NobodyKeepsIt
from datanets.tests.conftest import Give, staked
from openledger_site.accounts.closing import AccountInUse, close_account, losses_of, obstacles_of
from openledger_site.accounts.models import User
from openledger_site.core.jobs import run_job
from openledger_site.core.models import Job

pytestmark = pytest.mark.django_db
WITHDRAW_JOB = "datanets.withdraw_rows"


def finish() -> None:
    for job in Job.objects.filter(kind=WITHDRAW_JOB):
        run_job(str(job.pk))
        job.refresh_from_db()
        assert job.state == Job.State.SUCCEEDED


def test_rows_are_withdrawn_in_the_background(pending: Contribution, contributor: User) -> None:
    assert Record.objects.exclude(instruction="").exists()
    assert "contribution" in losses_of(contributor)[0].sentence
    close_account(user=contributor, withdraw_rows=True)
    finish()
    assert set(Record.objects.values_list("state", "instruction")) == {("withdrawn", "")}
    assert set(Contribution.objects.values_list("state", flat=True)) == {"withdrawn"}


def test_rows_stay_where_their_contributor_wants_it(
    pending: Contribution, contributor: User
) -> None:
    close_account(user=contributor, withdraw_rows=False)
    assert not Job.objects.filter(kind=WITHDRAW_JOB).exists()
    assert Record.objects.exclude(instruction="").exists()


def test_rights_and_roles_end(datanet: Datanet, private: Datanet, builder: User) -> None:
    Membership.objects.create(datanet=private, user=builder, role="reader")
    for place, state in ((datanet, "granted"), (private, "requested")):
        AccessGrant.objects.create(
            datanet=place, user=builder, right="read", purpose="A study", state=state
        )
    close_account(user=builder, withdraw_rows=True)
    assert not Membership.objects.filter(user=builder).exists()
    states = (
        AccessGrant.objects.filter(user=builder).order_by("state").values_list("state", flat=True)
    )
    assert list(states) == ["revoked", "withdrawn"]


def test_a_datanet_with_other_people_is_handed_over_first(
    datanet: Datanet, owner: User, contributor: User
) -> None:
    set_member(datanet=datanet, actor=owner, email=str(contributor.email), role="curator")
    (hint,) = obstacles_of(owner)
    assert datanet.name in hint.sentence
    assert hint.url == f"/datanets/{datanet.slug}/members/"
    with pytest.raises(AccountInUse, match="Hand over"):
        close_account(user=owner, withdraw_rows=True)


def test_a_datanet_with_rows_of_others_is_handed_over_first(
    pending: Contribution, owner: User
) -> None:
    assert obstacles_of(owner)


def test_a_stake_stays_in_the_contract_and_that_is_said(
    datanet: Datanet, contributor: User
) -> None:
    staked(f"datanet:{datanet.public_id}", 5, by=contributor)
    (hint,) = losses_of(contributor)
    assert "What you have staked" in hint.sentence


def test_a_datanet_of_ones_own_is_no_obstacle(datanet: Datanet, owner: User) -> None:
    assert not obstacles_of(owner)
    close_account(user=owner, withdraw_rows=True)


def test_a_datanet_whose_owner_left_takes_no_rows(
    datanet: Datanet, owner: User, contributor: User, reviewer: User, give: Give
) -> None:
    assert rights_of(contributor, datanet).contribute
    close_account(user=owner, withdraw_rows=True)
    datanet = Datanet.objects.get()
    assert not rights_of(contributor, datanet).contribute
    with pytest.raises(NobodyKeepsIt):
        give(datanet, contributor)
    with pytest.raises(NobodyKeepsIt):
        begin_upload(datanet=datanet, owner=contributor, filename="a.jsonl", size_bytes=9)
    assert not Contribution.objects.exists()
    Membership.objects.create(datanet=datanet, user=reviewer, role="curator")  # by the operator
    assert rights_of(contributor, datanet).contribute
    give(datanet, contributor)
