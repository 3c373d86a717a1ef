"""Replay: the latest questions with the teacher's answers, to be mixed into every corrective batch.

The memory is a view of the ledger, kept to the last `size` samples. It is a function of (ledger, episode), so a
resumed process rebuilds exactly what an uninterrupted one holds.
"""

from __future__ import annotations

from collections import deque

from rl_distillation.checkpoints.ledger import Ledger

Lesson = tuple[str, str]
"""A question and the answer to learn."""


class Replay:
    """The last `size` judged questions of the episodes before the current one."""

    def __init__(self, ledger: Ledger, size: int) -> None:
        self._ledger, self._size = ledger, size
        self._lessons: deque[Lesson] = deque(maxlen=size)
        self._filled = 0

    def before(self, episode: int) -> list[Lesson]:
        """The lessons of the episodes before `episode`, oldest first."""
        if episode <= self._filled:  # a resumed or forked run goes back
            self._lessons.clear()
            self._filled = 0
        last = episode - 1
        if last > self._filled:
            rows = self._ledger.rows(
                "select question, teacher from samples where episode > ? and episode <= ? and correct is not null "
                "order by episode desc, position desc limit ?",
                self._filled,
                last,
                self._size,
            )
            self._lessons.extend((row["question"], row["teacher"]) for row in reversed(rows))
            self._filled = last
        return list(self._lessons)
