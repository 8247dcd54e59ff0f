"""What a vote of OPEN holders may decide about a Datanet: who curates a public one."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from datanets.models import Datanet, Membership
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import DomainError


def appoint_curator(datanet_id: UUID, user: User, is_curator: bool) -> None:
    """Make somebody a curator, or end that; other roles stay.

    Only where anybody may read the rows: no vote opens a restricted or private Datanet. Raises
    DomainError with the reason.
    """
    with transaction.atomic():
        datanet = Datanet.objects.select_for_update().filter(public_id=datanet_id).first()
        if datanet is None or datanet.visibility != Datanet.Visibility.PUBLIC:
            raise DomainError("There is no public Datanet with this id.", where="datanet")
        current = Membership.objects.filter(datanet=datanet, user=user).first()
        if current is not None and current.role == Membership.Role.OWNER:
            raise DomainError("This wallet is the owner's, who curates anyway.", where="wallet")
        if is_curator:
            Membership.objects.update_or_create(
                datanet=datanet, user=user, defaults={"role": Membership.Role.CURATOR}
            )
        elif current is not None and current.role == Membership.Role.CURATOR:
            current.delete()
        else:
            raise DomainError("This wallet's owner is no curator of it.", where="wallet")
        record_audit(
            "datanet.curator_by_vote",
            actor="vote",
            subject=f"datanet:{datanet.public_id}",
            member=user.pk,
            is_curator=is_curator,
        )
