"""Asking, answering, settling. One file a verb."""

from __future__ import annotations

from marketplace.services.reserve_answer import Sampling, reserve_answer
from marketplace.services.settle_inference import settle_inference
from marketplace.services.stream_answer import finish_answer, stream_answer
from marketplace.services.sweep_answers import sweep_answers

__all__ = [
    "Sampling",
    "finish_answer",
    "reserve_answer",
    "settle_inference",
    "stream_answer",
    "sweep_answers",
]
