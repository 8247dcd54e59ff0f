"""Ask again and again until something holds, for so long and no longer."""

from __future__ import annotations

import time
from collections.abc import Iterator

# A round counts as no more than this: a machine that was paused (a snapshot, a sleeping laptop, a
# disk that stood still) finds its clock far ahead, and has not waited.
ROUND_SECONDS_MAX = 1.0


def rounds(seconds: float, *, pause_seconds: float = 0.1) -> Iterator[None]:
    """One turn of a loop at a time, `pause_seconds` apart, until `seconds` were waited.

        for _ in rounds(30):
            if done():
                break
        else:
            raise TookTooLong

    The last turn comes after the last pause, so what became true meanwhile is still seen.
    """
    waited = 0.0
    began = time.monotonic()
    while True:
        yield
        if waited >= seconds:
            return
        time.sleep(pause_seconds)
        now = time.monotonic()
        waited += min(now - began, ROUND_SECONDS_MAX)
        began = now
