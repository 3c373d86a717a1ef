"""Measures a run's student, or any local model, on held-out questions with known answers."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.errors import UserError
from rl_distillation.export import load_student
from rl_distillation.judging.judge import exact_judge
from rl_distillation.judging.verdict import Pair
from rl_distillation.metrics import wilson_interval
from rl_distillation.models.local import LocalChatModel
from rl_distillation.models.prompts import answer_messages
from rl_distillation.questions.dataset import read_questions


@dataclass(frozen=True)
class Score:
    """A measurement: the share of answers equal to the reference after normalising, with its 95 % Wilson interval."""

    model: str
    questions: int
    correct: int
    accuracy: float
    accuracy_ci: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def evaluate_run(runs: Path, name: str, questions: Path | None = None) -> Score:
    """The student of a run, as it stands, on a file of questions with answers or else the run's held-out ones.

    Raises UserError when the run has no weights yet or no question has an answer.
    """
    folder = RunFolder(runs, name)
    if questions is None:
        with closing(Ledger(folder.ledger, read_only=True)) as ledger:
            rows = ledger.rows("select question, reference from heldout where reference is not null order by position")
        known = [(row["question"], row["reference"]) for row in rows]
    else:
        known = _answered(questions)
    completions = load_student(folder).answer([question for question, _ in known], temperature=0.0, seed=0)
    return _score(name, [Pair(q, gold, c.text) for (q, gold), c in zip(known, completions, strict=True)])


def evaluate_model(path: str, questions: Path | None = None) -> Score:
    """A model folder, a PEFT adapter's folder or a hub id, on a file of questions with answers or else the demo's.

    Raises UserError when the model cannot be loaded or no question has an answer.
    """
    if questions is None:
        from rl_distillation.demo import domain

        known = [(q.text, q.answer) for q in domain.held_out()]
    else:
        known = _answered(questions)
    model = LocalChatModel(path=path, place="eval", max_tokens=64)
    replies = model.batch([answer_messages(question, None) for question, _ in known])
    return _score(path, [Pair(q, gold, str(reply.text)) for (q, gold), reply in zip(known, replies, strict=True)])


def _answered(file: Path) -> list[tuple[str, str]]:
    known = [(q.text, q.gold) for q in read_questions(file) if q.gold]
    if not known:
        raise UserError(f"{file}: no question has an `answer` to measure against")
    return known


def _score(model: str, pairs: list[Pair]) -> Score:
    correct = sum(v.correct is True for v in exact_judge()(pairs))
    return Score(model, len(pairs), correct, correct / len(pairs), wilson_interval(correct, len(pairs)))
