"""Roots that go on chain under a subject's name: when a set of records existed."""

from __future__ import annotations

from django.db import transaction

from rewards.models import Anchor
from rewards.services.sender import queue_transaction


def anchor_root(*, subject: str, root: bytes, count: int) -> Anchor:
    """Queue the anchoring of a 32-byte root over `count` records; once per subject and root.

    `Anchor.state` goes queued → signed → sent → mined → final; `Anchor.tx_hash` is empty until
    signed. On chain the subject is keccak-256 of its text. Raises `ValueError` for a root that is
    not 32 bytes or all zero, and for a count below 1.
    """
    if len(root) != 32 or not any(root) or count < 1:
        raise ValueError("An anchor is a non-zero root of 32 bytes over at least one record.")
    text = "0x" + root.hex()
    with transaction.atomic():
        existing = Anchor.objects.filter(subject=subject, root=text).first()
        if existing is not None:
            return existing
        queued = queue_transaction("anchor", subject=f"{subject}:{text}", root=text, count=count)
        return Anchor.objects.get_or_create(
            subject=subject, root=text, defaults={"count": count, "chain_transaction": queued}
        )[0]
