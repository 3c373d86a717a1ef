"""Measures the student on held-out questions, greedily, and how far it has moved from its base."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.judging.verdict import Pair
from rl_distillation.metrics import wilson_interval


def evaluate(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Held-out accuracy with its 95 % interval, over the questions that got a verdict."""
    context = runtime.context
    context.keep(state["snapshot"])
    heldout = context.ledger.rows(
        "select question, reference from heldout where reference is not null order by position"
    )
    questions = [row["question"] for row in heldout]
    completions = context.student.answer(questions, temperature=0.0, seed=0)
    pairs = [Pair(r["question"], r["reference"], c.text) for r, c in zip(heldout, completions, strict=True)]
    verdicts = context.heldout_judge(pairs)
    correct = sum(v.correct is True for v in verdicts)
    judged = sum(v.correct is not None for v in verdicts)
    low, high = wilson_interval(correct, judged)
    accuracy = correct / judged if judged else None
    kl = context.student.kl_to_base(questions, completions)
    row = {
        "episode": state["episode"], "questions": len(pairs), "correct": correct, "no_verdict": len(pairs) - judged,
        "accuracy": accuracy, "low": low, "high": high, "kl_to_base": kl,
    }  # fmt: skip
    context.ledger.upsert("evaluations", [row])
    evaluation = {"episode": state["episode"], "accuracy": accuracy, "low": low, "high": high}
    best = state["evaluation"].get("best")
    if accuracy is None or (best is not None and accuracy < best):
        return {"evaluation": {**evaluation, "best": best}}
    return {"evaluation": {**evaluation, "best": accuracy}, "best": state["snapshot"]}
