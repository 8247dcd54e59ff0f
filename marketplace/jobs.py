"""Job handlers of this app."""

from __future__ import annotations

from marketplace.services import AUDIT_JOB, audit_dispute, settle_inference
from openledger_site.core.jobs import Lease, handles


@handles("marketplace.settle_answer")
def settle_answer(lease: Lease) -> None:
    settle_inference(lease)


@handles(AUDIT_JOB)
def audit(lease: Lease) -> None:
    audit_dispute(lease)
