"""The governed numbers in the books: which are in force, and how a vote's become so.

Nothing else writes `SplitParameters` after version 1. The site begins with the defaults of that
row; `manage.py deploy_contracts` deploys version 1 on chain with the same numbers.
"""

from __future__ import annotations

from django.conf import settings
from django.db.models import Max

from openledger_site.core.audit import record_audit
from rewards.chain.governance import HOLDING_SECONDS_MAX, ParameterEvent, ParameterValues
from rewards.models import ParameterChange, SplitParameters
from rewards.selectors.parameters import GENESIS_SLASHING_CAP_BPS, epoch_under_way, split_parameters
from rewards.services.chain import stand_in_line
from rewards.services.chain_events import keep_event

EPOCH_LOCK = 0x0A0D1A
PPM_PER_BPS = 100
EPOCH_MAX = 2**31 - 1  # what the column holds; the watcher must not fail on any event


def genesis_values() -> ParameterValues:
    """Version 1 as the contract is deployed with it: what the site splits by without any vote."""
    first = SplitParameters(version=1)
    return ParameterValues(
        contributors_bps=first.contributors_ppm // PPM_PER_BPS,
        builder_bps=first.builder_ppm // PPM_PER_BPS,
        stakers_bps=first.stakers_ppm // PPM_PER_BPS,
        platform_bps=first.platform_ppm // PPM_PER_BPS,
        holding_seconds=min(settings.EARNINGS_HOLDING_SECONDS, HOLDING_SECONDS_MAX),
        slashing_cap_bps=GENESIS_SLASHING_CAP_BPS,
    )


def book_parameters(event: ParameterEvent, chain_id: int, contract: str) -> bool:
    """Book one final change, in force from the next epoch on; False when it is booked already.

    Version 1 is the deployment's and changes nothing. A change whose block left the chain and came
    back counts again from where it counted. The caller holds a transaction open.
    """
    if event.version == 1:
        return False
    values = event.values
    change, is_new, came_back = keep_event(
        ParameterChange,
        event.place,
        chain_id,
        standing=ParameterChange.State.COUNTED,
        contract=contract,
        version=event.version,
        from_epoch=min(event.from_epoch, EPOCH_MAX),
        contributors_bps=values.contributors_bps,
        builder_bps=values.builder_bps,
        stakers_bps=values.stakers_bps,
        platform_bps=values.platform_bps,
        holding_seconds=values.holding_seconds,
        slashing_cap_bps=values.slashing_cap_bps,
    )
    if is_new:
        _write_parameters(change)
    return is_new or came_back


def _write_parameters(change: ParameterChange) -> None:
    stand_in_line(EPOCH_LOCK)  # no epoch closes between the reading of its number and us
    last = SplitParameters.objects.aggregate(last=Max("version"))["last"]
    parameters = SplitParameters.objects.create(
        version=(last or split_parameters().version) + 1,
        change=change,
        effective_from_epoch=max(change.from_epoch, epoch_under_way() + 1),
        contributors_ppm=change.contributors_bps * PPM_PER_BPS,
        builder_ppm=change.builder_bps * PPM_PER_BPS,
        stakers_ppm=change.stakers_bps * PPM_PER_BPS,
        platform_ppm=change.platform_bps * PPM_PER_BPS,
        holding_seconds=change.holding_seconds,
    )
    record_audit(
        "parameters.change",
        actor="watcher",
        subject=f"parameters:{parameters.version}",
        from_epoch=parameters.effective_from_epoch,
        transaction=change.transaction_hash,
    )
