"""The Celery application. The job row is the truth; a message is only a wake-up."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from openledger_site.core.broker import use_whole_files

use_whole_files()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")

app = Celery("openledger")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def load_ahead(sender: Any, **kwargs: Any) -> None:
    """Let the attribution worker load torch while it has nothing to do, beside its queue.

    Otherwise the first answer waits for that. The other workers never need it.
    """
    if "attribution" in sender.app.amqp.queues.consume_from:
        from modelfactory.services import load_attributor

        threading.Thread(target=load_attributor, name="load-ahead", daemon=True).start()
