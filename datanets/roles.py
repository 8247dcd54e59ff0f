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
class RoleLine:
    """One role, and for each of `ABILITIES` whether it has it: [(ability, can), …]."""

    name: str
    lines: list[tuple[str, bool]]


def role_table() -> tuple[list[str], list[RoleLine]]:
    """The heads of the columns, and a line a role."""
    lines = [
        RoleLine(role.label.partition(":")[0], [(what, role in roles) for what, roles in ABILITIES])
        for role in Role
    ]
    return [ability for ability, _ in ABILITIES], lines
