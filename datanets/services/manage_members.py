"""Name a Datanet's members, change their roles, and hand the whole over to one of them."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction

from datanets.models import Datanet, Membership
from datanets.selectors.access import first_or_404
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import DomainError

_OWNER = Membership.Role.OWNER


def set_member(*, datanet: Datanet, actor: User, email: str, role: str) -> Membership:
    """Give somebody a role; the owner's own role stays. Raises DomainError: no such person, or
    nobody confirmed that the address is theirs.
    """
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is None:
        raise DomainError("Nobody has signed up with this email address.", where="email")
    if _is_unconfirmed(user):
        raise DomainError(
            "This email address has not been confirmed yet. Ask them to follow the link in the mail"
            " that they got when they signed up.",
            where="email",
        )
    if user.pk == datanet.owner_id or role == _OWNER:
        raise DomainError("A Datanet has one owner. Hand it over below instead.", where="role")
    with transaction.atomic():
        membership, _ = Membership.objects.update_or_create(
            datanet=datanet, user=user, defaults={"role": role}
        )
        _write_down("set_member", membership, actor)
    return membership


def _is_unconfirmed(user: User) -> bool:
    """Whoever signs up first with somebody's address would get what is meant for them.

    Not asked while developing, where mail arrives nowhere; an account that the operator made has
    no address to confirm.
    """
    addresses = EmailAddress.objects.filter(user=user, email__iexact=user.email, verified=False)
    return not settings.DEBUG and addresses.exists()


def change_role(*, datanet: Datanet, actor: User, membership_id: int, role: str) -> Membership:
    """Another role for a member; 404 for the owner's row and for one of another Datanet."""
    if role == _OWNER:
        raise DomainError("A Datanet has one owner. Hand it over below instead.", where="role")
    with transaction.atomic():
        membership = _other_member(datanet, membership_id)
        membership.role = role
        membership.save(update_fields=["role"])
        _write_down("set_member", membership, actor)
    return membership


def remove_member(*, datanet: Datanet, actor: User, membership_id: int) -> None:
    """Their rows stay theirs and in the Datanet. Nobody removes the owner: 404."""
    with transaction.atomic():
        membership = _other_member(datanet, membership_id)
        Membership.objects.filter(pk=membership.pk).delete()
        _write_down("remove_member", membership, actor)


def transfer_ownership(*, datanet: Datanet, actor: User, member: Membership) -> Datanet:
    """Make a member the owner; who owned it becomes a curator."""
    with transaction.atomic():
        row = Datanet.objects.select_for_update().get(pk=datanet.pk)
        heir = _other_member(row, member.pk)
        row.memberships.filter(role=_OWNER).update(role=Membership.Role.CURATOR)
        heir.role = _OWNER
        heir.save(update_fields=["role"])
        row.owner = heir.user
        row.save(update_fields=["owner"])
        _write_down("transfer", heir, actor)
    return row


def _other_member(datanet: Datanet, membership_id: int) -> Membership:
    rows = Membership.objects.select_for_update(of=("self",)).select_related("user", "datanet")
    rows = rows.filter(datanet=datanet, pk=membership_id).exclude(role=_OWNER)
    found: Membership = first_or_404(rows, "member")
    return found


def _write_down(action: str, membership: Membership, actor: User) -> None:
    record_audit(
        f"datanet.{action}",
        actor=actor,
        subject=f"datanet:{membership.datanet.public_id}",
        member=membership.user_id,
        role=str(membership.role),
    )
