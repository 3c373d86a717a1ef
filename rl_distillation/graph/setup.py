"""Builds a run's context from its config: loads the models, opens the stores, finds the questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.checkpoints.snapshots import Snapshots
from rl_distillation.config import Config
from rl_distillation.errors import UserError
from rl_distillation.graph.context import Context
from rl_distillation.judging.embedding import HUB_MODEL, offline_available
from rl_distillation.judging.judge import build_judge, exact_judge
from rl_distillation.learning.replay import Replay
from rl_distillation.models.caller import Caller
from rl_distillation.models.chat import chat_model, display_name
from rl_distillation.models.student import Student
from rl_distillation.questions.dataset import Dataset, Stream, read_questions, to_question
from rl_distillation.questions.question import Question, Source
from rl_distillation.questions.written import Written

GIVEN = "given from Python"
"""How the ledger says that the questions cannot be found again by name."""
OBJECT = "object:"
"""How the config names a teacher that was given as an object and cannot be rebuilt from a name."""


def resolve(config: Config, teacher: BaseChatModel | None) -> Config:
    """A copy of the config with everything that depends on this machine decided."""
    config = config.model_copy(deep=True)
    student, judge, embedding = config.student, config.evaluation, config.evaluation.embedding_model
    if teacher is not None:
        config.teacher.model_name = OBJECT + display_name(teacher)
    config.teacher.model_name = _absolute(config.teacher.model_name)
    student.model_path = _absolute(student.model_path)
    judge.judge_model = judge.judge_model and _absolute(judge.judge_model)
    judge.embedding_model = embedding and _absolute(embedding)
    config.questions.path = config.questions.path and _absolute(config.questions.path)
    if config.evaluation.embedding_model == "auto":
        config.evaluation.embedding_model = "offline" if offline_available() else HUB_MODEL
    return config


def _absolute(name: str) -> str:
    """A name that is a path here, made good for any other working directory; any other name as it is."""
    provider, colon, path = name.rpartition("hf:")
    there = Path(path).expanduser()
    return provider + colon + str(there.resolve()) if there.exists() and path != "demo" else name


def build_context(
    folder: RunFolder, config: Config, ledger: Ledger, teacher: BaseChatModel | None, items: Any
) -> Context:
    """Everything the nodes work with. `items` are questions given from Python, or None.

    Raises UserError when something named in the config cannot be had.
    """
    if teacher is None and config.teacher.model_name.startswith(OBJECT):
        raise UserError(f"{folder.name}: its teacher was given as an object; resume it from Python with teacher_model=")
    if ledger.facts().get("question_source") == GIVEN and items is None and not folder.questions.exists():
        raise UserError(f"{folder.name}: its questions were given from Python; resume it there with questions=")
    if items is not None and not isinstance(items, (str, Path)):
        ledger.set_facts(question_source=GIVEN)
    # Cheap checks come first: a missing file or key should not wait for models to load.
    dataset = _dataset(folder, config, items)
    model = teacher or chat_model(config.teacher.model_name, config.teacher)
    judge_name = config.evaluation.judge_model
    judge_model = chat_model(judge_name, config.teacher, "evaluation.judge_model") if judge_name else model
    callers = [
        Caller(m, role, ledger, config.teacher.concurrency) for m, role in ((model, "teacher"), (judge_model, "judge"))
    ]
    student = Student(config.student, config.training.seed)
    judge = build_judge(config, callers[1])
    source, true_references = (dataset, False) if dataset else _written(config, callers[0], ledger)
    ledger.set_facts(
        true_references=int(true_references),
        teacher=config.teacher.model_name,
        student=config.student.model_path,
        teacher_parameters=getattr(model, "parameters", None),
        student_parameters=student.parameters,
        device=student.device,
        seed=config.training.seed,
        num_episodes=config.training.num_episodes,
    )
    return Context(
        config=config,
        student=student,
        teacher=callers[0],
        judge_caller=callers[1],
        judge=judge,
        heldout_judge=exact_judge() if true_references else judge,
        source=source,
        ledger=ledger,
        snapshots=Snapshots(folder.adapters),
        replay=Replay(ledger, config.training.replay_size),
    )


def _dataset(folder: RunFolder, config: Config, items: Any) -> Source | None:
    """The user's questions, or None when the teacher is to write them.

    A finite set is copied into the run's folder once, so that the run is complete in itself.
    """
    place = str(config.questions.path or "questions")
    if isinstance(items, Iterator):
        return Stream(items, heldout=config.evaluation.size)
    if not folder.questions.exists():
        if items is None and not config.questions.path:
            return None
        if items is None or isinstance(items, (str, Path)):
            questions = read_questions(items or place)
        else:
            questions = [to_question(item, f"{place}: item {n}") for n, item in enumerate(items, 1)]
        folder.write_questions(q.to_json() for q in questions)
    return Dataset(
        folder.read_questions(),
        seed=config.training.seed,
        share=config.evaluation.heldout_share,
        most=config.evaluation.size,
        place=place,
    )


def _written(config: Config, teacher: Caller, ledger: Ledger) -> tuple[Source, bool]:
    """The teacher's own questions, and whether their references are surely true, as only the demo domain's are."""
    common: dict[str, Any] = {"per_call": config.questions.per_call, "seed": config.training.seed}
    if config.teacher.model_name == "demo":
        from rl_distillation.demo import domain

        held = [Question(q.text, q.answer, q.topic) for q in domain.held_out()]
        return Written(
            teacher, domain.TOPICS, heldout=held, refuse=domain.is_held_out, truth=domain.truth, **common
        ), True
    rows = ledger.rows("select question, gold, topic from heldout order by position")
    held = [Question(r["question"], r["gold"], r["topic"]) for r in rows]
    return Written(teacher, config.questions.topics, heldout=held, size=config.evaluation.size, **common), False
