"""Several blind votes a row, ties, doubts, test rows, appeals, and who is trusted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from datanets.models import Appeal, Contribution, Datanet, GoldAnswer, Membership, Record, Review
from datanets.selectors import (
    flag_counts,
    gold_due,
    review_quality,
    review_queue,
    reviews_shown,
    trust_in,
)
from datanets.services import (
    AlreadyDecided,
    TooManyRows,
    WaitsForCurator,
    appeal_rejection,
    make_gold,
    retire_gold,
    review_all,
    review_record,
    set_review_rules,
    undo_review,
    withdraw_contribution,
)
from datanets.tests.conftest import jsonl
from openledger_site.accounts.models import User
from openledger_site.core.errors import Conflict, DomainError

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(datanet):
    """Three reviewers who are no curators."""
    found = []
    for name in ("Ada", "Ben", "Cy"):
        user = User.objects.create_user(f"{name}@example.org".lower(), "x", display_name=name)
        Membership.objects.create(datanet=datanet, user=user, role="reviewer")
        found.append(user)
    return found


@pytest.fixture
def three_votes(datanet):
    Datanet.objects.filter(pk=datanet.pk).update(votes_per_row=3)
    datanet.refresh_from_db()
    return datanet


@pytest.fixture
def two_votes(datanet):
    Datanet.objects.filter(pk=datanet.pk).update(votes_per_row=2)
    datanet.refresh_from_db()
    return datanet


@pytest.fixture
def record(pending):
    return first_row()


def first_row() -> Record:
    return Record.objects.select_related("datanet", "contribution").order_by("pk")[0]


def vote(reviewer: User, verdict: str, **more: str) -> Record:
    reason = {"reason": "wrong"} if verdict == "reject" else {}
    review_record(record=first_row(), reviewer=reviewer, verdict=verdict, **reason, **more)
    return first_row()


def test_a_majority_decides_once_the_missing_vote_cannot_change_it(three_votes, pending, people):
    assert vote(people[0], "approve").state == "pending"
    assert vote(people[1], "approve").state == "approved"
    with pytest.raises(AlreadyDecided):
        vote(people[2], "reject")


def test_three_votes_may_differ(three_votes, pending, people):
    vote(people[0], "approve")
    assert vote(people[1], "reject").state == "pending"
    assert vote(people[2], "reject").state == "rejected"


def test_nobody_votes_twice_on_a_row(three_votes, pending, people):
    vote(people[0], "approve")
    with pytest.raises(AlreadyDecided):
        vote(people[0], "approve")
    assert Review.objects.count() == 1


def test_votes_are_blind(three_votes, record, people, as_user):
    vote(people[0], "reject", note="Ada's doubt")
    page = as_user(people[1]).get(record.get_absolute_url()).content
    assert b"Ada" not in page
    assert not reviews_shown(people[1], first_row())
    assert [one.reviewer for one in reviews_shown(people[0], first_row())] == [people[0]]


def test_votes_are_blind_on_the_page_of_the_contribution_too(
    three_votes, record, people, owner, contributor, as_user
):
    vote(people[0], "reject")
    url = record.contribution.get_absolute_url()
    said = b"The answer is wrong"
    assert said in as_user(people[0]).get(url).content
    for person in (people[1], owner, contributor):
        assert said not in as_user(person).get(url).content
    vote(people[1], "reject")
    assert said in as_user(contributor).get(url).content


def test_notes_are_for_reviewers_and_for_who_gave_the_row(
    datanet, record, people, owner, contributor, stranger, as_user
):
    vote(people[0], "approve", note="I know whom this is about")
    said = b"I know whom"
    for person in (people[1], owner, contributor):
        assert said in as_user(person).get(record.get_absolute_url()).content
    page = as_user(stranger).get(record.get_absolute_url()).content
    assert b"Ada" in page
    assert said not in page


def test_a_row_leaves_the_queue_of_who_voted(three_votes, pending, people):
    vote(people[0], "approve")
    assert review_queue(people[0], three_votes).count() == 2
    assert review_queue(people[1], three_votes).count() == 3


def test_a_tie_waits_for_a_curator_whose_vote_decides(two_votes, pending, people, owner):
    vote(people[0], "approve")
    row = vote(people[1], "reject")
    assert (row.state, row.escalated) == ("pending", True)
    with pytest.raises(WaitsForCurator):
        vote(people[2], "approve")
    assert row not in review_queue(people[2], two_votes)
    assert [one.pk for one in review_queue(owner, two_votes, flag="curator")] == [row.pk]
    assert {one.reviewer for one in reviews_shown(owner, row)} == set(people[:2])
    row = vote(owner, "approve")
    assert (row.state, row.escalated) == ("approved", False)


def test_who_is_unsure_leaves_the_row_to_a_curator(pending, people, owner):
    with pytest.raises(DomainError, match="curator"):
        vote(people[0], "flag")
    row = vote(people[0], "flag", note="Is this still so in 3.13?")
    assert (row.state, row.escalated) == ("pending", True)
    assert vote(owner, "reject").state == "rejected"


def test_the_database_lets_only_waiting_rows_be_escalated(record):
    with pytest.raises(IntegrityError), transaction.atomic():
        Record.objects.update(state="approved", escalated=True)


def test_an_undo_takes_one_vote_away(two_votes, pending, people):
    vote(people[0], "approve")
    vote(people[1], "reject")
    undo_review(
        datanet=two_votes, reviewer=people[1], batch=people[1].datanet_reviews.first().batch
    )
    row = first_row()
    assert (row.state, row.escalated) == ("pending", False)
    assert vote(people[1], "approve").state == "approved"


def test_an_earlier_vote_is_not_undone_under_a_decision(two_votes, pending, people):
    vote(people[0], "approve")
    vote(people[1], "approve")
    with pytest.raises(Conflict):
        undo_review(
            datanet=two_votes, reviewer=people[0], batch=people[0].datanet_reviews.first().batch
        )


def test_a_bulk_press_votes_once_on_each_row(two_votes, pending, people):
    def press(user: User) -> tuple[int, int]:
        queue = review_queue(user, two_votes)
        done = review_all(records=queue, datanet=two_votes, reviewer=user, verdict="approve")
        return done.count, done.decided

    assert press(people[0]) == (3, 0)
    assert press(people[0]) == (0, 0)
    assert press(people[1]) == (3, 3)


def test_trust_is_earned_by_approved_rows_and_lost_by_rejected_ones(
    datanet, contributor, owner, give
):
    def level() -> str:
        return trust_in(datanet, [contributor.pk])[contributor.pk].level

    assert level() == "new"
    give(datanet, contributor, jsonl(many(16)))
    decide("approve", owner, datanet)
    assert level() == "trusted"
    give(datanet, contributor, jsonl(many(10, "other")))
    decide("reject", owner, datanet)
    assert level() == "new"


def test_old_rows_count_less(datanet, contributor, owner, give):
    give(datanet, contributor, jsonl(many(16)))
    decide("approve", owner, datanet)
    Contribution.objects.update(created_at=timezone.now() - timedelta(days=180))
    found = trust_in(datanet, [contributor.pk])[contributor.pk]
    assert found.approved == pytest.approx(8, abs=0.01)
    assert found.level == "known"


def test_one_vote_decides_a_row_of_a_trusted_contributor(
    three_votes, contributor, owner, people, give
):
    give(three_votes, contributor, jsonl(many(20)))
    Record.objects.update(state="approved")
    give(three_votes, contributor)
    row = Record.objects.filter(state="pending").select_related("datanet", "contribution")[0]
    review_record(record=row, reviewer=people[0], verdict="approve")
    row.refresh_from_db()
    assert row.state == "approved"


def test_a_newcomer_sends_no_more_than_the_daily_rows(datanet, contributor, owner, give):
    set_review_rules(
        datanet=datanet, actor=owner, votes_per_row=1, gold_every=0, newcomer_rows_a_day=3
    )
    datanet.refresh_from_db()
    given = give(datanet, contributor)
    with pytest.raises(TooManyRows, match="3 rows here in a day"):
        give(datanet, contributor)
    withdraw_contribution(contribution=given, actor=contributor)
    with pytest.raises(TooManyRows):
        give(datanet, contributor)
    assert give(datanet, owner).rows_accepted == 3  # who reviews here is trusted


def test_a_burst_is_stopped(datanet, contributor, give, settings):
    settings.CONTRIBUTIONS_AN_HOUR = 2
    for _ in range(2):
        give(datanet, contributor)
    with pytest.raises(TooManyRows, match="within an hour"):
        give(datanet, contributor)


@pytest.fixture
def gold(datanet, pending, owner):
    Datanet.objects.filter(pk=datanet.pk).update(gold_every=1)
    datanet.refresh_from_db()
    row = vote(owner, "approve")
    return make_gold(record=row, actor=owner, explanation="Python's own words.")


def test_a_test_row_comes_after_so_many_votes_and_once(datanet, gold, people):
    ada = people[0]
    assert gold_due(ada, datanet) is None
    other = Record.objects.filter(state="pending").select_related("datanet", "contribution")[0]
    review_record(record=other, reviewer=ada, verdict="approve")
    assert gold_due(ada, datanet) == gold.record
    said = review_record(record=first_row(), reviewer=ada, verdict="reject", reason="wrong")
    assert (said.gold, said.count) == (gold, 0)
    assert first_row().state == "approved"
    assert gold_due(ada, datanet) is None


def test_a_test_row_is_met_in_the_queue_and_explained(datanet, gold, people, as_user):
    client, ada = as_user(people[0]), people[0]
    other = Record.objects.filter(state="pending").select_related("datanet", "contribution")[0]
    review_record(record=other, reviewer=ada, verdict="approve")
    queue = reverse("datanets:review-queue", args=[datanet.slug])
    assert b"What does ZeroDivisionError mean?" in client.get(queue).content
    url = reverse("datanets:record-review", args=[gold.record.public_id])
    page = client.post(url, {"verdict": "reject", "reason": "wrong"}, follow=True).content.decode()
    assert "That was a test row; the answer was “approve”. Python&#x27;s own words." in page


def test_who_made_or_decided_a_test_row_does_not_meet_it(datanet, gold, owner, contributor):
    assert gold_due(owner, datanet) is None
    assert gold_due(contributor, datanet) is None


def test_a_retired_test_row_is_met_by_nobody(datanet, gold, people, owner):
    other = Record.objects.filter(state="pending").select_related("datanet", "contribution")[0]
    review_record(record=other, reviewer=people[0], verdict="approve")
    retire_gold(gold=gold, actor=owner)
    assert gold_due(people[0], datanet) is None


def test_only_decided_rows_become_tests_and_once(record, gold, owner):
    waiting = Record.objects.filter(state="pending")[0]
    with pytest.raises(DomainError, match="decided"):
        make_gold(record=waiting, actor=owner, explanation="x")
    with pytest.raises(Conflict):
        make_gold(record=gold.record, actor=owner, explanation="x")


def test_figures_of_reviewers(two_votes, pending, people, owner):
    vote(people[0], "approve")
    vote(people[1], "reject")
    vote(owner, "reject")
    gold = make_gold(record=first_row(), actor=owner, explanation="x")
    GoldAnswer.objects.create(gold=gold, reviewer=people[2], verdict="reject")
    quality = review_quality(two_votes)
    by_name = {one.name: one for one in quality.reviewers}
    assert (by_name["Ada"].agreed_percent, by_name["Ben"].agreed_percent) == (0, 100)
    assert (by_name["Cy"].tests, by_name["Cy"].tests_right) == (1, 1)
    assert (quality.waiting, quality.escalated, quality.rows_with_two_votes) == ("2", "0", 1)
    assert quality.alpha == pytest.approx(0)  # one row with one, two votes of the other kind


def test_the_page_of_figures_is_the_curators(two_votes, pending, people, owner, as_user):
    url = reverse("datanets:review-quality", args=[two_votes.slug])
    vote(people[0], "approve")
    page = as_user(owner).get(url)
    assert b"Ada" in page.content
    assert as_user(people[0]).get(url).status_code == 404


def test_the_owner_sets_the_rules(datanet, owner, people, as_user):
    url = reverse("datanets:review-rules", args=[datanet.slug])
    rules = {"votes_per_row": 3, "gold_every": 20, "newcomer_rows_a_day": 500}
    assert as_user(owner).post(url, rules).status_code == 302
    datanet.refresh_from_db()
    assert (datanet.votes_per_row, datanet.gold_every) == (3, 20)
    assert as_user(owner).post(url, {**rules, "votes_per_row": 9}).status_code == 422
    assert as_user(people[0]).post(url, rules).status_code == 404


def test_a_rejected_row_is_appealed_once_and_decided_by_a_curator(
    pending, contributor, people, owner, as_user
):
    row = vote(people[0], "reject")
    url = reverse("datanets:record-appeal", args=[row.public_id])
    assert b"Do you disagree?" in as_user(contributor).get(row.get_absolute_url()).content
    assert as_user(contributor).post(url, {"text": "It is in the manual."}).status_code == 302
    row = first_row()
    assert (row.state, row.escalated) == ("pending", True)
    queue = reverse("datanets:review-queue", args=[row.datanet.slug])
    assert b"It is in the manual." in as_user(owner).get(queue, {"flag": "curator"}).content
    vote(owner, "reject")
    assert as_user(contributor).post(url, {"text": "But"}).status_code == 409


def test_nobody_appeals_for_another(pending, people, owner, as_user):
    row = vote(people[0], "reject")
    url = reverse("datanets:record-appeal", args=[row.public_id])
    assert as_user(people[1]).post(url, {"text": "x"}).status_code == 404


def test_an_undone_decision_about_an_appeal_waits_for_a_curator_again(
    pending, contributor, people, owner
):
    row = vote(people[0], "reject")
    appeal_rejection(record=row, contributor=contributor, text="It is in the manual.")
    vote(owner, "approve")
    undo_review(datanet=row.datanet, reviewer=owner, batch=owner.datanet_reviews.first().batch)
    row = first_row()
    assert (row.state, row.escalated) == ("pending", True)


def test_a_withdrawal_forgets_the_appeal(pending, contributor, people):
    row = vote(people[0], "reject")
    appeal_rejection(record=row, contributor=contributor, text="It is in the manual.")
    withdraw_contribution(contribution=pending, actor=contributor)
    assert not Appeal.objects.exists()
    assert first_row().escalated is False


def many(count: int, about: str = "thing") -> list[dict[str, object]]:
    return [
        {"question": f"What is {about} number {at}?", "answer": f"It is {about} {at * 7919}."}
        for at in range(count)
    ]


def decide(verdict: str, reviewer: User, datanet: Datanet) -> None:
    reason = {"reason": "wrong"} if verdict == "reject" else {}
    rows = review_queue(reviewer, datanet)
    review_all(records=rows, datanet=datanet, reviewer=reviewer, verdict=verdict, **reason)


def test_a_queue_of_too_many_rows_is_not_counted(
    as_user, datanet: Datanet, pending: Contribution, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datanets.selectors.counts.COUNTED_MAX", 2)
    assert flag_counts(datanet, owner) is None
    page = as_user(owner).get(reverse("datanets:review-queue", args=[datanet.slug]))
    assert "2 or more rows waiting" in page.content.decode()
    assert page.status_code == 200
    assert review_quality(datanet).waiting == "2 or more"
