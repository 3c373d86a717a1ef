"""What the nodes work with: models, stores and config, handed over at run time and never part of the state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.checkpoints.snapshots import Snapshots
from rl_distillation.config import Config
from rl_distillation.judging.judge import Judge
from rl_distillation.learning.replay import Replay
from rl_distillation.models.caller import Caller
from rl_distillation.models.student import Student
from rl_distillation.questions.question import Source


@dataclass
class Context:
    """The runtime context of one run."""

    config: Config
    student: Student
    teacher: Caller
    judge_caller: Caller
    judge: Judge
    heldout_judge: Judge
    """Grades held-out answers: exact where the references are known to be the truth, else `judge`."""
    source: Source
    ledger: Ledger
    snapshots: Snapshots
    replay: Replay

    def seed(self, episode: int, node: str) -> int:
        """The seed of everything random in one node of one episode."""
        text = f"{self.config.training.seed} {episode} {node}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def asked(self) -> dict[str, int]:
        """Lookups of this process by role."""
        return {"teacher": self.teacher.asked, "judge": self.judge_caller.asked}

    def wear(self, snapshot: str) -> None:
        """Make the student in memory the one the state names; after a crash it may be another."""
        if self.student.snapshot != snapshot:
            self.student.load(self.snapshots.path(snapshot))

    def commit(self, episode: int, node: str) -> str:
        """Name the student's weights after the update that made them, write them where the cadence says so, and return
        the name for the state. Weights that are not written are made again by a resumed run."""
        name = f"{episode:06d}-{node}"
        self.student.snapshot = name
        if episode % self.config.checkpoint.every == 0:
            self.snapshots.write(name, self.student.save)
        return name

    def keep(self, snapshot: str) -> None:
        """Make sure that the weights the state names are on disk."""
        self.wear(snapshot)
        if not self.snapshots.path(snapshot).is_dir():
            self.snapshots.write(snapshot, self.student.save)
