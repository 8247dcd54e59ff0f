"""Folders that are known by digests, kept open and checked again when their files change."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from modelfactory.attribution.index_files import stamp_of

Opened = TypeVar("Opened")
CHECK_AGAIN_SECONDS = 600.0
"""After so long the digests are computed even where no time of change moved: a disk can rot."""


class OpenFolders(Generic[Opened]):
    """The ``at_most`` folders used last; ``open_folder`` reads one and raises where it is damaged.

    A folder is read again once name, size, time of change or inode of any of its files differ. What
    it maps into memory follows the disk, so a change may never go unnoticed.
    """

    def __init__(self, open_folder: Callable[[Path], Opened], at_most: int) -> None:
        self._open_folder, self._at_most = open_folder, at_most
        self._kept: OrderedDict[Path, tuple[object, float, Opened]] = OrderedDict()

    def get(self, folder: Path) -> Opened:
        stamp, kept = stamp_of(folder), self._kept.pop(folder, None)
        if kept is None or kept[0] != stamp or time.monotonic() - kept[1] > CHECK_AGAIN_SECONDS:
            kept = (stamp, time.monotonic(), self._open_folder(folder))
        self._kept[folder] = kept
        while len(self._kept) > self._at_most:
            self._kept.popitem(last=False)
        return kept[2]
