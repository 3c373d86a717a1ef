"""Reward: make the student's own right answers more likely.

REINFORCE (Williams 1992) with a moving-average baseline: the gradient is -advantage * grad log p(answer), where
advantage = score - baseline and the baseline is the mean score of earlier episodes. An answer that was expected to be
right moves the weights little; one that was not, much. The tokens are the sampled ones, the distribution is the one
that was sampled from (same temperature), and one step is made on each sample, so the estimate is on-policy and needs
neither clipping nor importance weights.

Only right answers are reinforced; wrong ones are left to the corrective update, which knows what would have been right.
Left out: normalising by a group's deviation, since every question is sampled once; a KL penalty, since the KL to the
base is logged and the adapters are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rl_distillation.models.student import Example, Student

MOMENTUM = 0.9


def policy_gradient_update(
    student: Student,
    rewarded: Sequence[Example],
    scores: Sequence[float],
    *,
    baseline: float,
    batch_size: int,
    learning_rate: float,
) -> float | None:
    """One step on all the sampled right answers together, `batch_size` at a time through the model.

    Returns the loss, or None when fewer than two answers beat the baseline: no update follows a single example.
    """
    weighted = [replace(e, weight=s - baseline) for e, s in zip(rewarded, scores, strict=True) if s > baseline]
    if len(weighted) < 2:
        return None
    return student.update(weighted, learning_rate, student.config.temperature, batch_size)


def next_baseline(baseline: float, scores: Sequence[float], first: bool) -> float:
    """The baseline after an episode with these scores; the first episode sets it."""
    if not scores:
        return baseline
    mean = sum(scores) / len(scores)
    return mean if first else MOMENTUM * baseline + (1 - MOMENTUM) * mean
