"""Appeals against slashes: whoever it costs something may speak, inside the window, once."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict
from rewards.models import SlashAppeal, SlashCase
from rewards.services.slashes import AppealOver


def appeal_slash(*, case: SlashCase, by: User, words: str) -> SlashAppeal:
    """Put a person's words before the arbiters. Raises `AppealOver`, and `Conflict` a second time.

    `by` is the owner of the subject when it was decided, or has a stake on it: the caller knows.
    """
    with transaction.atomic():
        in_window = Q(executable_at__isnull=True) | Q(executable_at__gt=Now())
        cases = SlashCase.objects.select_for_update().filter(in_window, state__in=SlashCase.OPEN)
        if not cases.filter(pk=case.pk).exists():
            raise AppealOver()
        if SlashAppeal.objects.filter(case=case, by=by).exists():
            raise Conflict("You have appealed already; the arbiters have your words.")
        whose = SlashAppeal.As.OWNER if case.owner_id == by.pk else SlashAppeal.As.STAKER
        appeal = SlashAppeal.objects.create(case=case, by=by, as_whom=whose, words=words)
        record_audit("slash.appeal", actor=by, subject=f"slash:{case.public_id}")
    return appeal
