"""Job handlers of this app."""

from __future__ import annotations

from marketplace.services import AUDIT_JOB, audit_dispute, settle_inference
from marketplace.services.erase_answers import ERASE_JOB, erase_answers
from marketplace.services.forget_passages import FORGET_JOB, forget_passages
from openledger_site.core.jobs import Lease, handles


@handles("marketplace.settle_answer", for_others=True)
def settle_answer(lease: Lease) -> None:
    settle_inference(lease)


@handles(FORGET_JOB)
def forget(lease: Lease) -> None:
    forget_passages(lease)


@handles(ERASE_JOB)
def erase(lease: Lease) -> None:
    erase_answers(lease)


@handles(AUDIT_JOB)
def audit(lease: Lease) -> None:
    audit_dispute(lease)
