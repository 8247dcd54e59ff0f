"""Is the code at an address the code that we compiled?

Creation code ends with the runtime code. What a constructor fixes for good (`immutable`) is a
`PUSH32` of zeros there and a value on chain, so those 32 bytes may differ and nothing else. Sources
to artifacts is another check: ``make contracts-check`` compiles them again.
"""

from __future__ import annotations

from dataclasses import dataclass

PUSH1, PUSH32 = 0x60, 0x7F
WORD = 32


@dataclass(frozen=True)
class CodeComparison:
    """``constants`` counts the values that the constructor filled in."""

    is_same: bool
    constants: int = 0


def compare_code(deployed: bytes, creation: bytes) -> CodeComparison:
    """Runtime code from the chain against creation code without constructor arguments."""
    if not deployed or len(deployed) > len(creation):
        return CodeComparison(False)
    compiled, at, constants = creation[-len(deployed) :], 0, 0
    while at < len(compiled):
        operation = compiled[at]
        if operation != deployed[at]:
            return CodeComparison(False)
        pushed = operation - PUSH1 + 1 if PUSH1 <= operation <= PUSH32 else 0
        ours, theirs = compiled[at + 1 : at + 1 + pushed], deployed[at + 1 : at + 1 + pushed]
        if ours != theirs:
            if pushed != WORD or any(ours):
                return CodeComparison(False)
            constants += 1
        at += 1 + pushed
    return CodeComparison(True, constants)
