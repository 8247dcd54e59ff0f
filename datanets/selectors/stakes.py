"""Stakes on contributions (decision 0036): what stands behind rows, which stakers a row pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datanets.models import Contribution, Datanet, Record
from openledger_site.core.money import split_wei
from openledger_site.core.row_security import all_rows
from rewards.chain.staking import target_id
from rewards.selectors.stakes import bonded_wei, staked_targets_of

# Makes what is lost when a weight is cut smaller than any wei that it could move.
WEIGHT_SCALE = 10**36


def stake_behind(contribution: Contribution) -> int:
    """Wei that are staked on a contribution, as last read from the chain."""
    subject = contribution.stake_subject
    return bonded_wei([subject]).get(subject, 0)


def staked_by(user: Any, datanet: Datanet) -> list[int]:
    """Contributions on which a linked wallet of this person has stake: who has money on rows does
    not judge them. Their primary keys."""
    own = staked_targets_of(user)
    if not own:
        return []
    sent = Contribution.objects.filter(datanet=datanet).exclude(state__in=Contribution.UNSENT)
    return [row.pk for row in sent.only("public_id") if target_id(row.stake_subject) in own]


@all_rows("whose Datanet and contribution a row belongs to decides where money goes")
def stake_targets_of(record_parts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Whose stakers an answer pays, with weights: for each record, by public id with its part, the
    Datanet and the contribution it came with, in proportion to what is staked on each now.

    Nothing without a record that is known; withdrawn ones are. Where nobody staked on the
    contribution, all of the part is the Datanet's (decision 0024).
    """
    rows = Record.objects.filter(public_id__in=list(record_parts)).values_list(
        "public_id", "contribution__datanet__public_id", "contribution__public_id"
    )
    places = {
        str(record): (f"datanet:{datanet}", f"contribution:{contribution}")
        for record, datanet, contribution in rows
    }
    staked = bonded_wei({subject for pair in places.values() for subject in pair})
    found: list[tuple[str, int]] = []
    for record, (datanet, contribution) in sorted(places.items()):
        weight, behind = record_parts[record] * WEIGHT_SCALE, staked.get(contribution, 0)
        if behind:
            parts = split_wei(weight, [staked.get(datanet, 0), behind])
            found += zip((datanet, contribution), parts, strict=True)
        else:
            found.append((datanet, weight))
    return found
