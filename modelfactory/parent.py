"""A child process that ends when the process that started it is gone, however that one ended."""

from __future__ import annotations

import os
import threading
import time

POLL_SECONDS = 0.5
EXIT_CODE = 70


def exit_with_parent() -> None:
    """Watch the parent from a daemon thread and exit at once when it is no longer ours.

    Polling, not ``PR_SET_PDEATHSIG``: that follows the parent's *thread*, and a worker that starts
    children from a short-lived thread would kill them.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(EXIT_CODE)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
