"""The Celery application. The job row is the truth; a message is only a wake-up."""

from __future__ import annotations

import os

from celery import Celery

from openledger_site.core.broker import use_whole_files

use_whole_files()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")

app = Celery("openledger")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
