"""Corrective update: where the student was wrong, learn the teacher's answer.

Supervised fine-tuning on the teacher's text (sequence-level distillation, Kim & Rush 2016, arXiv 1606.07947) with the
loss on answer tokens only, limited to the questions the student just got wrong. Every batch mixes the new mistakes with
replayed earlier questions, so that learning one answer does not unlearn the others (experience replay, Rolnick et al.
2019, arXiv 1811.11682).

Left out: preference pairs and the teacher's token probabilities, which need more than a text from the teacher.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from rl_distillation.learning.replay import Lesson
from rl_distillation.models.student import Example, Student


def corrective_update(
    student: Student,
    mistakes: Sequence[Lesson],
    replay: Sequence[Lesson],
    *,
    updates: int,
    batch_size: int,
    replay_share: float,
    learning_rate: Callable[[float], float],
    seed: int,
) -> float | None:
    """Make `updates` steps on batches of mistakes and replay; returns the mean loss.

    `learning_rate` maps progress through these steps (0 to 1) to a rate. Mistakes are dealt in shuffled rounds, so each
    is seen equally often. A single mistake with nothing to mix it with is left for later: returns None.
    """
    if len(mistakes) + len(replay) < 2:
        return None
    draw = random.Random(seed)
    earlier = min(round(batch_size * replay_share), batch_size - 1) if replay else 0
    fresh = deal(mistakes, draw)
    losses = []
    for step in range(updates):
        batch = [next(fresh) for _ in range(min(batch_size - earlier, len(mistakes)))]
        batch += draw.choices(replay, k=batch_size - len(batch)) if replay else []
        losses.append(student.update(_examples(student, batch), learning_rate(step / updates)))
    return sum(losses) / len(losses)


def deal(lessons: Sequence[Lesson], draw: random.Random) -> Iterator[Lesson]:
    """The lessons in endless shuffled rounds."""
    while True:
        yield from draw.sample(lessons, len(lessons))


def _examples(student: Student, batch: list[Lesson]) -> list[Example]:
    return student.examples([question for question, _ in batch], [answer for _, answer in batch])
