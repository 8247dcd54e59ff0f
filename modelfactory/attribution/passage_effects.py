"""What each retrieved passage did to one answer, as integers. Torch-free; see ``ablation.py``.

Leave one out::

    effect_i = log p(answer | all passages) - log p(answer | all but passage i)

A measured fact about this model and this answer, not an estimate. Effects do not add up: two
passages that say the same can each be spared, so the effect of all of them together stands beside.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PassageEffects:
    """Log-probabilities of the whole answer in micro-nats: with all passages, without each of them
    (in the order they were read), and without any.
    """

    all_micro_nats: int
    without_micro_nats: tuple[int, ...]
    none_micro_nats: int

    @property
    def effects_micro_nats(self) -> tuple[int, ...]:
        """By how much each passage made the answer more likely."""
        return tuple(self.all_micro_nats - without for without in self.without_micro_nats)

    @property
    def together_micro_nats(self) -> int:
        return self.all_micro_nats - self.none_micro_nats
