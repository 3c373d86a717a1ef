"""Compares the student's answers with the teacher's and enters the episode in the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.judging.verdict import Pair, Verdict


def judge(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """A verdict for every answer. Right is what the judge calls correct with a score from the threshold up."""
    context = runtime.context
    answers = zip(state["questions"], state["teacher_answers"], state["student_answers"], strict=True)
    pairs = [Pair(q["text"], reference, answer) for q, reference, answer in answers]
    verdicts = _judge(context, pairs)
    threshold = context.config.training.reward_threshold
    rows = [asdict(v) for v in verdicts]
    for row in rows:
        row["correct"] = row["correct"] and row["score"] >= threshold
    context.ledger.upsert(
        "samples",
        [
            {
                "episode": state["episode"], "position": i, "topic": q["topic"], "question": q["text"],
                "gold": q["gold"], "teacher": pair.reference, "student": pair.answer, **row, "reward": 0.0,
            }
            for i, (q, pair, row) in enumerate(zip(state["questions"], pairs, rows, strict=True))
        ],
    )  # fmt: skip
    counts = [row["correct"] for row in rows]
    sums = {"questions": len(rows), "correct": counts.count(True), "wrong": counts.count(False)}
    context.ledger.upsert(
        "episodes",
        [
            {
                "episode": state["episode"], **sums, "no_verdict": counts.count(None), "reward": 0.0,
                "baseline": state["baseline"], "snapshot": state["snapshot"],
            }
        ],
    )  # fmt: skip
    return {"verdicts": rows}


def _judge(context: Context, pairs: list[Pair]) -> list[Verdict]:
    """A question the teacher had no answer to has no verdict."""
    verdicts = [Verdict(None, 0.0, "teacher", "the teacher gave no answer") for _ in pairs]
    judged = [i for i, pair in enumerate(pairs) if pair.reference]
    for i, verdict in zip(judged, context.judge([pairs[i] for i in judged]), strict=True):
        verdicts[i] = verdict
    return verdicts
