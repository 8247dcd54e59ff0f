"""Log lines say what broke, and never what a person wrote."""

from __future__ import annotations

import io
import logging

import pytest
from django.db import IntegrityError, transaction

from openledger_site.core.logs import LineFormatter
from openledger_site.core.models import Job

pytestmark = pytest.mark.django_db


def test_a_row_that_the_database_refuses_is_not_in_the_log() -> None:
    """PostgreSQL repeats the whole row in the details of its refusal."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LineFormatter())
    logger = logging.Logger("a job")
    logger.addHandler(handler)
    try:
        with transaction.atomic():
            Job.objects.create(
                kind="test.kind", queue="sweeps", subject="Mr Miller\nis ill", progress=2_000
            )
    except IntegrityError as refusal:
        logger.exception("job crashed")
        logger.error("task raised unexpected: %r", refusal)  # as Celery says it
    assert "task raised unexpected: IntegrityError(" in written.getvalue()
    assert "job_progress_is_in_thousandths" in written.getvalue()
    assert "test_logs.py" in written.getvalue()
    for text in ("Mr Miller", "is ill"):
        assert text not in written.getvalue()
