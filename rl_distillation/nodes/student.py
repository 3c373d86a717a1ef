"""Lets the student answer the episode's questions, sampling from its own distribution."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State


def student(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The student's answers, as text and as the tokens that were sampled."""
    context = runtime.context
    context.wear(state["snapshot"])
    completions = context.student.answer(
        [q["text"] for q in state["questions"]],
        temperature=context.config.student.temperature,
        seed=context.seed(state["episode"], "student"),
    )
    return {"student_answers": [c.text for c in completions], "student_tokens": [c.tokens for c in completions]}
