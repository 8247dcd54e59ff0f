"""Contributions to stake on: who sees them, what stands behind rows, and whose stakers are paid."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datanets.models import Contribution, Datanet, Record
from datanets.selectors import stake_targets_of, staked_by
from datanets.selectors.stakes import WEIGHT_SCALE
from datanets.services import cut_version, review_all, review_record, withdraw_contribution
from datanets.services.errors import OwnStake
from datanets.tests.conftest import CHAIN, Give, approve_all, staked
from openledger_site.accounts.models import User
from openledger_site.core.money import WEI_PER_OPEN as OPEN
from rewards.chain.staking import target_id
from rewards.models import SlashCase, StakeTarget
from rewards.selectors.subjects import visible_subjects
from rewards.services.settlements import split_stakers_part

pytestmark = pytest.mark.django_db


def page_of(contribution: Contribution, part: str = "") -> str:
    return f"/rewards/stakes/contribution/{contribution.public_id}/{part}"


def sees(user: User, contribution: Contribution) -> bool:
    return bool(visible_subjects(user, [contribution.stake_subject]))


def test_before_a_row_is_approved_only_contributor_and_reviewers_see_it(
    pending: Contribution, contributor: User, curator: User, stranger: User, as_user
) -> None:
    assert sees(contributor, pending)
    assert sees(curator, pending)
    assert not sees(stranger, pending)
    assert Client().get(page_of(pending)).status_code == 404
    approve_all(pending.datanet, curator)
    assert sees(stranger, pending)
    assert Client().get(page_of(pending)).status_code == 200


def test_of_a_private_datanet_strangers_see_nothing(
    private: Datanet, contributor: User, owner: User, stranger: User, give: Give
) -> None:
    contribution = give(private, contributor)
    approve_all(private, owner)
    assert sees(owner, contribution)
    assert not sees(stranger, contribution)
    assert Client().get(page_of(contribution)).status_code == 404


def test_what_was_not_sent_cannot_be_staked_on(pending: Contribution, contributor: User) -> None:
    Contribution.objects.update(state=Contribution.State.PARSING)
    assert not sees(contributor, pending)


def test_readers_learn_neither_its_title_nor_its_page(
    pending: Contribution, curator: User, stranger: User, contributor: User
) -> None:
    Contribution.objects.update(title="My notes of Tuesday")
    approve_all(pending.datanet, curator)
    (seen,) = visible_subjects(stranger, [pending.stake_subject]).values()
    assert "notes" not in seen.title
    assert seen.url == pending.datanet.get_absolute_url()
    assert seen.owner_id == contributor.pk
    (own,) = visible_subjects(contributor, [pending.stake_subject]).values()
    assert own.url == pending.get_absolute_url()


def test_withdrawing_is_no_way_out_of_a_slash(
    pending: Contribution, owner: User, contributor: User, stranger: User
) -> None:
    approve_all(pending.datanet, owner)
    cut_version(datanet=pending.datanet, actor=owner, note="")
    withdraw_contribution(contribution=pending, actor=contributor)
    assert sees(stranger, pending)


def test_its_page_and_the_queue_say_what_stands_behind_it(
    pending: Contribution, contributor: User, curator: User, as_user
) -> None:
    queue = reverse("datanets:review-queue", args=[pending.datanet.slug])
    assert "stands behind these rows" not in as_user(curator).get(queue).content.decode()
    staked(pending.stake_subject, 1_200)
    page = as_user(curator).get(queue).content.decode()
    assert "1,200" in page
    assert "stands behind these rows" in page
    row = pending.records.first().get_absolute_url()
    assert "stands behind these rows" in as_user(contributor).get(row).content.decode()
    own = as_user(contributor).get(pending.get_absolute_url()).content.decode()
    assert page_of(pending, "panel/") in own
    assert "1,200" in as_user(contributor).get(page_of(pending, "panel/")).content.decode()


def test_a_contribution_never_gets_a_token(
    pending: Contribution, contributor: User, as_user
) -> None:
    path = f"/rewards/assets/contribution/{pending.public_id}/"
    assert as_user(contributor).get(path).status_code == 404
    assert as_user(contributor).post(f"{path}register/").status_code == 404


def test_who_has_stake_behind_rows_does_not_judge_them(
    pending: Contribution, curator: User, owner: User, as_user
) -> None:
    staked(pending.stake_subject, 5, by=curator)
    assert staked_by(curator, pending.datanet) == [pending.pk]
    queue = reverse("datanets:review-queue", args=[pending.datanet.slug])
    assert "Nothing waits" in as_user(curator).get(queue).content.decode()
    with pytest.raises(OwnStake):
        review_record(record=pending.records.all()[0], reviewer=curator, verdict="approve")
    everything = {"records": Record.objects.all(), "datanet": pending.datanet}
    assert review_all(**everything, reviewer=curator, verdict="approve").count == 0
    assert review_all(**everything, reviewer=owner, verdict="approve").count == 3


def test_a_slash_names_it_by_the_rules_of_every_other_target(
    pending: Contribution, owner: User, contributor: User, stranger: User, as_user
) -> None:
    staked(pending.stake_subject, 100)
    approve_all(pending.datanet, owner)
    User.objects.filter(pk=stranger.pk).update(is_staff=True)
    stranger.user_permissions.add(Permission.objects.get(codename="decide_slash"))
    form = {"amount": "10.01", "decision": "Half of these rows were copied from a book."}
    assert as_user(contributor).post(page_of(pending, "slash/"), form).status_code == 404
    staff = User.objects.get(pk=stranger.pk)
    assert as_user(staff).post(page_of(pending, "slash/"), form).status_code == 422  # the cap
    sent = as_user(staff).post(page_of(pending, "slash/"), form | {"amount": "10"})
    assert sent.status_code == 302
    case = SlashCase.objects.get()
    assert (case.subject, case.owner_id) == (pending.stake_subject, contributor.pk)
    said = as_user(contributor).get(page_of(pending)).content.decode()
    assert "Half of these rows were copied" in said
    assert "Send the appeal" in said  # its contributor may appeal


def test_without_stake_behind_it_a_row_pays_the_stakers_of_its_datanet(version) -> None:
    record = version.datanet.records.first()
    assert stake_targets_of({str(record.public_id): 7}) == [
        (f"datanet:{version.datanet.public_id}", 7 * WEIGHT_SCALE)
    ]
    assert stake_targets_of({}) == []


def test_a_row_pays_both_by_what_is_staked_on_each(version, pending: Contribution) -> None:
    datanet = f"datanet:{version.datanet.public_id}"
    staked(datanet, 300)
    staked(pending.stake_subject, 100)
    first, second = (str(record.public_id) for record in pending.records.all()[:2])
    parts = split_stakers_part(1_000, stake_targets_of({first: 500, second: 500}))
    assert parts == {datanet: 750, pending.stake_subject: 250}
    # The same for each OPEN staked: one on the contribution takes no more than its share.
    StakeTarget.objects.filter(subject=pending.stake_subject).update(bonded_wei=OPEN)
    parts = split_stakers_part(3_010, stake_targets_of({first: 1}))
    assert parts == {datanet: 3_000, pending.stake_subject: 10}


def test_a_withdrawn_row_pays_as_before(version, pending: Contribution, contributor: User) -> None:
    staked(pending.stake_subject, 1)
    record = str(pending.records.all()[0].public_id)
    withdraw_contribution(contribution=pending, actor=contributor)
    assert stake_targets_of({record: 3}) == [
        (f"datanet:{version.datanet.public_id}", 0),
        (pending.stake_subject, 3 * WEIGHT_SCALE),
    ]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stakers_wei=st.integers(0, 10**24),
    parts=st.lists(st.integers(0, 10**9), min_size=3, max_size=3),
    on_datanet=st.integers(0, 10**27),
    behind=st.integers(0, 10**27),
)
def test_whatever_is_staked_no_wei_is_lost_and_none_is_made(
    version, stakers_wei: int, parts: list[int], on_datanet: int, behind: int
) -> None:
    contribution = version.datanet.contributions.get()
    both = {f"datanet:{version.datanet.public_id}": on_datanet, contribution.stake_subject: behind}
    for subject, amount_wei in both.items():
        StakeTarget.objects.update_or_create(
            chain_id=CHAIN, target=target_id(subject), defaults={"bonded_wei": amount_wei}
        )
    records = [str(record.public_id) for record in contribution.records.all()]
    targets = stake_targets_of(dict(zip(records, parts, strict=True)))
    assert sum(weight for _, weight in targets) == sum(parts) * WEIGHT_SCALE
    cut = split_stakers_part(stakers_wei, targets)
    assert sum(cut.values()) == stakers_wei
    if behind and sum(parts):
        its = cut.get(contribution.stake_subject, 0)
        # To the wei what its stake is worth beside the Datanet's.
        assert abs(its * (on_datanet + behind) - stakers_wei * behind) <= on_datanet + behind
