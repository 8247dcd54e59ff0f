"""Close an account: what has to be done before, what is lost, what goes and what stays.

What a person has elsewhere is known elsewhere: the apps above register here when they start, so
that nothing is imported upwards. The rule is docs/decisions/0048.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.db.models.functions import Now

from openledger_site.accounts.models import ApiKey, User, Wallet
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, NotAllowed


@dataclass(frozen=True)
class Hint:
    """A sentence for the person, and the page where they can act on it, if there is one."""

    sentence: str
    url: str = ""


@dataclass(frozen=True)
class Part:
    """What one app knows of a person who leaves.

    `obstacles` have to be gone before; `losses` are told before; `leave` runs in the transaction
    that closes the account (quick writes and queued jobs only) and is told whether the person's
    rows go too; an app that keeps everything has none.
    """

    obstacles: Callable[[User], Iterable[Hint]]
    losses: Callable[[User], Iterable[Hint]]
    leave: Callable[[User, bool], None] = lambda user, withdraw_rows: None


_parts: dict[str, Part] = {}


class AccountInUse(Conflict):
    code = "account_in_use"


class AccountClosed(NotAllowed):
    code = "account_closed"
    message = "This account is closed."


def register_part(name: str, part: Part) -> None:
    """Registering a name again replaces it."""
    _parts[name] = part


def obstacles_of(user: User) -> list[Hint]:
    return [hint for part in _parts.values() for hint in part.obstacles(user)]


def losses_of(user: User) -> list[Hint]:
    return [hint for part in _parts.values() for hint in part.losses(user)]


def keep_open(user: User) -> None:
    """Lock the account, first of all locks: closing it waits for the caller's transaction, and
    then for what that began. Raises `AccountClosed`.
    """
    if not User.objects.select_for_update(no_key=True).get(pk=user.pk).is_active:
        raise AccountClosed()


def close_account(*, user: User, withdraw_rows: bool) -> None:
    """Close it for good: nobody signs in to it again, and nothing on the site names the person.

    Entries of the books, receipts and reviews stay under the handle that gives nothing away.
    Raises `AccountInUse` while something has to be done before.
    """
    with transaction.atomic():
        # Not the key as well: settlements that name the person would wait, with the log locked.
        row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        obstacles = obstacles_of(row)
        if obstacles:
            raise AccountInUse(obstacles[0].sentence)
        for part in _parts.values():
            part.leave(row, withdraw_rows)
        EmailAddress.objects.filter(user=row).delete()
        Authenticator.objects.filter(user=row).delete()
        ApiKey.objects.filter(user=row, revoked_at__isnull=True).update(revoked_at=Now())
        Wallet.objects.filter(user=row, unlinked_at__isnull=True).update(unlinked_at=Now())
        row.email, row.display_name = None, ""
        row.is_active = row.is_staff = row.is_superuser = False
        row.set_unusable_password()
        row.save()
        record_audit("account.closed", actor=row, subject=f"user:{row.public_id}")
