"""Readies a run, once: writes the untrained student's snapshot and the held-out questions with their references."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.errors import UserError
from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.judging.verdict import Pair
from rl_distillation.models.prompts import answer_messages


def prepare(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The reference of a held-out question is its known answer, else what the teacher says.

    Raises UserError when no held-out question has either.
    """
    context = runtime.context
    snapshot = context.commit(0, "start")
    questions = context.source.heldout()
    system = context.config.teacher.system_prompt
    answers = [a.strip() for a in context.teacher.ask([answer_messages(q.text, system) for q in questions])]
    references = [q.gold or answer or None for q, answer in zip(questions, answers, strict=True)]
    known = [i for i, reference in enumerate(references) if reference]
    if not known:
        raise UserError("questions: no held-out question has an answer, neither of its own nor from the teacher")
    pairs = [Pair(questions[i].text, references[i] or "", answers[i]) for i in known]
    verdicts = dict(zip(known, context.heldout_judge(pairs), strict=True))
    context.ledger.upsert(
        "heldout",
        [
            {
                "position": i, "question": q.text, "reference": references[i], "topic": q.topic, "gold": q.gold,
                "teacher": answers[i], "teacher_correct": verdicts[i].correct if i in verdicts else None,
            }
            for i, q in enumerate(questions)
        ],
    )  # fmt: skip
    return {"snapshot": snapshot, "best": snapshot}
