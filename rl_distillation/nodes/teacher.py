"""Asks the teacher the episode's questions."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.models.prompts import answer_messages


def teacher(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The teacher's answers, each paid for once."""
    context = runtime.context
    system = context.config.teacher.system_prompt
    answers = context.teacher.ask([answer_messages(q["text"], system) for q in state["questions"]])
    return {"teacher_answers": [answer.strip() for answer in answers]}
