"""Whether a long run slows down or swells: `python benchmarks/growth.py --episodes 5000`.

A stub takes the place of the models, so that what is measured is graph and stores: every superstep still goes through
LangGraph, the saver, the ledger and the snapshot store as in a real run. Prints seconds per episode around episode 100
and at the end and their ratio, the size of `checkpoints.db`, and the ledger's bytes a question.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import zeros

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.checkpoints.snapshots import Snapshots
from rl_distillation.demo import domain
from rl_distillation.demo.config import demo_config
from rl_distillation.graph.context import Context
from rl_distillation.graph.run import Run
from rl_distillation.judging.judge import exact_judge
from rl_distillation.learning.replay import Replay
from rl_distillation.models.student import ADAPTER, Completion, Example
from rl_distillation.questions.question import Question


class StubCaller:
    """Answers from the domain's truth and stores the reply as the real one does."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.asked, self.episode = ledger, 0, 0

    def ask(self, chats: list[list[dict[str, str]]]) -> list[str]:
        answers = [domain.truth(chat[-1]["content"]) or "" for chat in chats]
        with self.ledger.transaction():
            for answer in answers:
                self.asked += 1
                self.ledger.add_reply(
                    f"{self.asked:032x}",
                    role="teacher",
                    model="stub",
                    reply=answer,
                    tokens_in=20,
                    tokens_out=2,
                    episode=self.episode,
                    inherited=0,
                )
        return answers


class StubTemplate:
    """No tokens."""

    def prompts(self, chats: list[Any]) -> list[list[int]]:
        return [[1]] * len(chats)


class StubStudent:
    """Is right half of the time, and learns in no time."""

    learning_rate, template, snapshot = 1e-3, StubTemplate(), None

    def __init__(self, config: Any) -> None:
        self.config = config

    def chat(self, question: str) -> list[Any]:
        return []

    def answer(self, questions: list[str], *, temperature: float, seed: int) -> list[Completion]:
        draw = random.Random(seed)
        return [Completion((domain.truth(q) or "") if draw.random() < 0.5 else "no idea", [1, 2, 3]) for q in questions]

    def examples(self, questions: list[str], answers: list[str]) -> list[Example]:
        return []

    def update(self, examples: list[Example], learning_rate: float, temperature: float = 1.0, size: int = 0) -> float:
        self.snapshot = None
        return 0.0

    def kl_to_base(self, questions: list[str], completions: list[Completion]) -> float:
        return 0.0

    def save(self, folder: Path) -> None:
        save_file({"weight": zeros(16)}, folder / ADAPTER)

    def load(self, folder: Path) -> None:
        self.snapshot = cast(Any, folder.name)


class StubSource:
    """Deals the domain's questions in order."""

    def __init__(self) -> None:
        self.pool = [Question(q.text, q.answer, q.topic) for q in domain.pool()]

    def heldout(self) -> list[Question]:
        return [Question(q.text, q.answer, q.topic) for q in domain.held_out(4)]

    def take(self, episode: int, cursor: int, n: int) -> tuple[list[Question], int]:
        return [self.pool[(cursor + i) % len(self.pool)] for i in range(n)], cursor + n


def measure(folder: RunFolder, episodes: int, questions: int) -> None:
    """Drive a stubbed run and print what it took."""
    config = demo_config(0, episodes)
    config.training.questions_per_episode, config.evaluation.every = questions, 10
    folder.create(config)
    with closing(Ledger(folder.ledger)) as ledger:
        caller, judge = StubCaller(ledger), exact_judge()
        context = Context(
            config=config, student=cast(Any, StubStudent(config.student)), teacher=cast(Any, caller),
            judge_caller=cast(Any, StubCaller(ledger)), judge=judge, heldout_judge=judge, source=StubSource(),
            ledger=ledger, snapshots=Snapshots(folder.adapters), replay=Replay(ledger, config.training.replay_size),
        )  # fmt: skip
        marks, cpu = [time.perf_counter()], [time.process_time()]
        for step in Run(folder, config, context).steps():
            if step.node == "generate" and step.status == "started":
                marks.append(time.perf_counter())
                cpu.append(time.process_time())
    asked = episodes * questions
    print(f"episodes {episodes}  questions {asked}")
    for what, clock in (("seconds", marks), ("CPU seconds", cpu)):
        spent = [b - a for a, b in pairwise(clock[1:])]
        early, late = (statistics.median(part) for part in (spent[50:150], spent[-100:]))
        print(f"{what} an episode: {early:.4f} around 100, {late:.4f} at the end  ratio {late / early:.3f}")
    print(f"checkpoints.db {folder.checkpoints.stat().st_size / 1024:.0f} KiB")
    print(f"ledger {folder.ledger.stat().st_size / asked:.0f} bytes a question")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--questions", type=int, default=32, help="a full-sized episode")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        measure(RunFolder(runs, "growth"), options.episodes, options.questions)


if __name__ == "__main__":
    main()
