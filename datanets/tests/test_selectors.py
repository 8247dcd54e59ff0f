from __future__ import annotations

from datetime import timedelta

import pytest
from django.http import Http404
from django.utils import timezone

from datanets import selectors
from datanets.models import Membership
from datanets.services import (
    cut_version,
    decide_grant,
    request_access,
    revoke_grant,
    set_member,
)
from datanets.tests.conftest import approve_all
from openledger_site.core.errors import Conflict

pytestmark = pytest.mark.django_db


@pytest.fixture
def private_version(private, owner, contributor, give):
    Membership.objects.create(datanet=private, user=contributor, role="contributor")
    give(private, contributor)
    approve_all(private, owner)
    return cut_version(datanet=private, actor=owner)


def test_a_private_datanet_does_not_exist_for_strangers(private_version, private, stranger):
    for look in (selectors.version_for, selectors.version_for_training):
        with pytest.raises(Http404):
            look(stranger, private_version.public_id)
    with pytest.raises(Http404):
        selectors.datanet_for(stranger, private.slug)
    with pytest.raises(Http404):
        selectors.record_for(stranger, private.records.first().public_id)


def test_a_contributor_sees_own_rows_but_may_not_train(private_version, private, contributor):
    assert selectors.record_for(contributor, private.records.first().public_id)
    with pytest.raises(Http404):
        selectors.version_for_training(contributor, private_version.public_id)


def test_a_trainer_trains_without_reading(private_version, private, owner, builder):
    set_member(datanet=private, actor=owner, email=builder.email, role="trainer")
    assert selectors.version_for_training(builder, private_version.public_id)
    with pytest.raises(Http404):
        selectors.record_for(builder, private.records.first().public_id)
    card = only_card(builder, private)
    assert (card.readable, card.question, card.datanet_name) == (False, "", "")
    assert card.contributor_name == "Carla"
    assert card.content_hash


def only_card(user, datanet):
    record = datanet.records.first()
    return selectors.record_cards(user, [record.public_id])[str(record.public_id)]


def test_a_reader_sees_the_text_on_a_card(private_version, private, owner, builder):
    set_member(datanet=private, actor=owner, email=builder.email, role="reader")
    card = only_card(builder, private)
    assert card.readable
    assert card.question == "What does ZeroDivisionError mean?"


def test_a_grant_gives_its_right_until_it_ends(private_version, private, owner, builder):
    grant = request_access(datanet=private, user=builder, right="train", purpose="A model")
    with pytest.raises(Http404):
        selectors.version_for_training(builder, private_version.public_id)
    decide_grant(grant=grant, actor=owner, granted=True, days=1)
    assert selectors.version_for_training(builder, private_version.public_id)
    private.grants.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Http404):
        selectors.version_for_training(builder, private_version.public_id)


def test_a_revoked_grant_ends_at_once(private_version, private, owner, builder):
    grant = request_access(datanet=private, user=builder, right="read", purpose="A model")
    decide_grant(grant=grant, actor=owner, granted=True)
    revoke_grant(grant=grant, actor=owner, answer="Not as agreed")
    with pytest.raises(Http404):
        selectors.version_for(builder, private_version.public_id)
    with pytest.raises(Conflict):
        decide_grant(grant=grant, actor=owner, granted=True)


def test_cards_cost_one_query(version, stranger, django_assert_num_queries):
    ids = list(version.datanet.records.values_list("public_id", flat=True))
    with django_assert_num_queries(1):
        cards = selectors.record_cards(stranger, ids)
    assert len(cards) == 3
    assert all(card.readable for card in cards.values())


def test_a_card_of_a_row_that_waits_tells_strangers_no_text(pending, stranger, contributor):
    assert not only_card(stranger, pending.datanet).readable
    assert only_card(contributor, pending.datanet).question
