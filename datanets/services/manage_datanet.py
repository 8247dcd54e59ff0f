"""Make a Datanet, name its members, and answer those who ask for access."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.text import slugify

from datanets.models import AccessGrant, Datanet, Membership
from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError

RESERVED_SLUGS = frozenset({"api", "new", "contributions", "records", "versions", "grants"})
GRANT_DAYS_MAX = 3_650


def create_datanet(
    *,
    owner: User,
    name: str,
    description: str,
    licence: str,
    guidelines: str = "",
    visibility: str = Datanet.Visibility.PUBLIC,
    left_out_rules: Sequence[str] = ("malware",),
) -> Datanet:
    """A new Datanet with its owner as first member; the slug follows the name and is unique."""
    with transaction.atomic():
        datanet = _insert_with_free_slug(
            owner=owner,
            name=name,
            description=description,
            guidelines=guidelines,
            visibility=visibility,
            licence=licence,
            left_out_rules=list(left_out_rules),
        )
        Membership.objects.create(datanet=datanet, user=owner, role=Membership.Role.OWNER)
        record_audit("datanet.create", actor=owner, subject=f"datanet:{datanet.public_id}")
    return datanet


def _insert_with_free_slug(**fields: Any) -> Datanet:
    stem = slugify(fields["name"])[:60] or "datanet"
    slug = f"{stem}-datanet" if stem in RESERVED_SLUGS else stem
    for _ in range(5):
        try:
            with transaction.atomic():
                return Datanet.objects.create(slug=slug, **fields)
        except IntegrityError:
            slug = f"{stem}-{get_random_string(5, '0123456789abcdefghijkmnpqrstuvwxyz')}"
    raise Conflict("No free address for this name. Choose another name.", where="name")


def set_member(*, datanet: Datanet, actor: User, email: str, role: str) -> Membership:
    """Give somebody a role; the owner's own role stays. Raises DomainError: no such person."""
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is None:
        raise DomainError("Nobody has signed up with this email address.", where="email")
    if user.pk == datanet.owner_id or role == Membership.Role.OWNER:
        raise DomainError("A Datanet has one owner, and that stays.", where="role")
    with transaction.atomic():
        membership, _ = Membership.objects.update_or_create(
            datanet=datanet, user=user, defaults={"role": role}
        )
        record_audit(
            "datanet.set_member",
            actor=actor,
            subject=f"datanet:{datanet.public_id}",
            member=user.pk,
            role=role,
        )
    return membership


def remove_member(*, datanet: Datanet, actor: User, membership_id: int) -> None:
    with transaction.atomic():
        rows = datanet.memberships.filter(pk=membership_id).exclude(role=Membership.Role.OWNER)
        if rows.delete()[0]:
            subject = f"datanet:{datanet.public_id}"
            record_audit(
                "datanet.remove_member", actor=actor, subject=subject, member=membership_id
            )


def request_access(*, datanet: Datanet, user: User, right: str, purpose: str) -> AccessGrant:
    """Ask the owner for a right. Asking again while a request or grant is open changes nothing."""
    open_states = [AccessGrant.State.REQUESTED, AccessGrant.State.GRANTED]
    with transaction.atomic():
        # The owner's row is the lock: two requests at once make one.
        Datanet.objects.select_for_update().get(pk=datanet.pk)
        same = datanet.grants.filter(user=user, right=right, state__in=open_states).first()
        if same is not None and not _expired(same):
            return same
        if same is not None:
            same.state = AccessGrant.State.REVOKED
            same.save(update_fields=["state"])
        return AccessGrant.objects.create(datanet=datanet, user=user, right=right, purpose=purpose)


def _expired(grant: AccessGrant) -> bool:
    return grant.expires_at is not None and grant.expires_at <= timezone.now()


def decide_grant(
    *, grant: AccessGrant, actor: User, granted: bool, answer: str = "", days: int = 365
) -> AccessGrant:
    """Grant for `days`, refuse, or (with `granted` false on a granted one) revoke."""
    if granted and not 1 <= days <= GRANT_DAYS_MAX:
        raise DomainError("A grant lasts 1 to 3650 days.", where="days", limit=GRANT_DAYS_MAX)
    with transaction.atomic():
        row = AccessGrant.objects.select_for_update().get(pk=grant.pk)
        if row.state in (AccessGrant.State.REFUSED, AccessGrant.State.REVOKED):
            raise Conflict("This request was answered before.")
        was_granted = row.state == AccessGrant.State.GRANTED
        refused = AccessGrant.State.REVOKED if was_granted else AccessGrant.State.REFUSED
        row.state = AccessGrant.State.GRANTED if granted else refused
        row.answer = answer
        row.expires_at = timezone.now() + timedelta(days=days) if granted else row.expires_at
        row.save(update_fields=["state", "answer", "expires_at"])
        record_audit(f"grant.{row.state}", actor=actor, subject=f"grant:{row.public_id}")
    return row
