"""How to cite a version: plain and BibTeX, with the hash that says exactly which rows. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPECIAL = re.compile(r"([&%$#_])")
_STRUCTURE = re.compile(r"[{}\\~^]")


@dataclass(frozen=True, slots=True)
class Citation:
    plain: str
    bibtex: str


def cite(
    *, name: str, slug: str, owner: str, number: int, year: int, merkle_root: str, url: str
) -> Citation:
    """`merkle_root` is 32 bytes as hex: whoever has the rows and their salts can compute it."""
    plain = (
        f"{owner} and contributors ({year}). {name}, version {number} [Datanet]. OpenLedger. "
        f"Merkle root 0x{merkle_root}. {url}"
    )
    lines = [
        f"@misc{{openledger-{slug}-v{number},",
        f"  title        = {{{_tex(name)}}},",
        f"  author       = {{{{{_tex(owner)} and contributors}}}},",
        f"  year         = {{{year}}},",
        f"  version      = {{{number}}},",
        "  howpublished = {OpenLedger Datanet},",
        f"  note         = {{Merkle root 0x{merkle_root}}},",
        f"  url          = {{{url}}}",
        "}",
    ]
    return Citation(plain, "\n".join(lines))


def _tex(text: str) -> str:
    """Text that cannot end its field early; what means something to TeX is escaped or left out."""
    return _SPECIAL.sub(r"\\\1", _STRUCTURE.sub("", text))
