"""What each role may do, as the members page shows it. Read from the rules, so it cannot differ."""

from __future__ import annotations

from dataclasses import dataclass

from datanets.models import Membership

Role = Membership.Role
ABILITIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Add rows, see their own", tuple(Role)),
    ("Train models on the rows", Membership.TRAINING),
    ("Read the rows", Membership.READING),
    ("Review rows", Membership.REVIEWING),
    ("Cut versions, decide on access", Membership.CURATING),
    ("Name members, hand it over", (Role.OWNER,)),
)


@dataclass(frozen=True)
class AbilityLine:
    """One ability, and for each role whether it has it: [(role, can), …]."""

    name: str
    cells: list[tuple[str, bool]]


def role_table() -> tuple[list[str], list[AbilityLine]]:
    """The heads of the columns, which are roles, and a line for each of `ABILITIES`."""
    heads = [(role, role.label.partition(":")[0]) for role in Role]
    lines = [
        AbilityLine(what, [(name, role in roles) for role, name in heads])
        for what, roles in ABILITIES
    ]
    return [name for _, name in heads], lines
