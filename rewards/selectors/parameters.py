"""The governed numbers that are in force now."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Max

from rewards.models import Epoch, ParameterChange, SplitParameters

GENESIS_SLASHING_CAP_BPS = 1_000


def epoch_under_way() -> int:
    """The number of the epoch whose answers are being earned now."""
    return (Epoch.objects.aggregate(last=Max("number"))["last"] or 0) + 1


def split_parameters() -> SplitParameters:
    """The parameters of the epoch under way; the first question writes version 1, the defaults."""
    in_force = SplitParameters.objects.filter(effective_from_epoch__lte=epoch_under_way())
    chosen = in_force.exclude(change__state="voided").order_by("-version").first()
    return chosen or SplitParameters.objects.get_or_create(version=1)[0]


def slashing_cap_bps() -> int:
    """The largest part of a target's stake that one slash may take now; a vote counts at once."""
    counted = ParameterChange.objects.filter(
        chain_id=settings.CHAIN_ID, state=ParameterChange.State.COUNTED
    )
    newest = counted.order_by("-version").first()
    return newest.slashing_cap_bps if newest else GENESIS_SLASHING_CAP_BPS
