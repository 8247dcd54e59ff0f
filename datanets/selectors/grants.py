"""Who asked for what, and who belongs to a Datanet: what its owner, its curators and askers see."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Now

from datanets.models import AccessGrant, Contribution, Datanet, Membership
from datanets.selectors.access import (
    curatable_by,
    first_or_404,
    readable_by,
    trainable_by,
    visible_to,
)

_RELATED = ("datanet", "user", "decided_by")


def requests_of(datanet: Datanet) -> QuerySet[AccessGrant]:
    """All requests, those that wait first, then what was granted; the newest first in each."""
    order = Case(
        When(state=AccessGrant.State.REQUESTED, then=Value(0)),
        When(state=AccessGrant.State.GRANTED, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    return datanet.grants.select_related(*_RELATED).order_by(order, "-id")


def waiting_requests(datanet: Datanet) -> int:
    return datanet.grants.filter(state=AccessGrant.State.REQUESTED).count()


def grants_of(user: Any, datanet: Datanet) -> QuerySet[AccessGrant]:
    """What this person asked for here, the newest first."""
    return datanet.grants.filter(user=user.pk).select_related(*_RELATED).order_by("-id")


def grant_for_decider(user: Any, public_id: Any) -> AccessGrant:
    """For the owner and the curators of its Datanet."""
    rows = AccessGrant.objects.filter(public_id=public_id, datanet__in=curatable_by(user))
    found: AccessGrant = first_or_404(rows.select_related(*_RELATED), "request")
    return found


def grant_for_asker(user: Any, public_id: Any) -> AccessGrant:
    """For whoever asked, as long as they may see the Datanet."""
    rows = AccessGrant.objects.filter(
        public_id=public_id, user=user.pk, datanet__in=visible_to(user)
    )
    found: AccessGrant = first_or_404(rows.select_related(*_RELATED), "request")
    return found


def members_of(datanet: Datanet) -> QuerySet[Membership]:
    return datanet.memberships.select_related("user").order_by("id")


def may_train(user: Any, datanet_id: int) -> bool:
    """Whether this person may train on the Datanet at this moment."""
    return trainable_by(user).filter(pk=datanet_id).exists()


def may_read_some(user: Any, datanet_id: int) -> bool:
    """Whether there is a row of the Datanet that this person may read, be it their own."""
    own = Contribution.objects.filter(datanet=datanet_id, contributor=user.pk)
    return readable_by(user).filter(pk=datanet_id).exists() or own.exists()


def may_serve(user: Any, datanet_id: int) -> bool:
    """Whether what this person trained on the Datanet may answer.

    A term that ran out ends training and leaves what was made in time; to be removed or revoked
    ends both.
    """
    if may_train(user, datanet_id):
        return True
    grants = AccessGrant.objects.filter(datanet=datanet_id, user=user.pk)
    lapsed = Q(state=AccessGrant.State.EXPIRED) | Q(
        state=AccessGrant.State.GRANTED, expires_at__lte=Now()
    )
    revoked = grants.filter(state=AccessGrant.State.REVOKED)
    return grants.filter(lapsed).exists() and not revoked.exists()
