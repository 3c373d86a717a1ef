"""Rewards right answers: a policy-gradient update on what the student itself said."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.learning.policy_gradient import policy_gradient_update
from rl_distillation.learning.schedule import learning_rate
from rl_distillation.models.student import Example


def reward(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The weights after rewarding, and the reward earned (the sum of the right answers' scores)."""
    context, training = runtime.context, runtime.context.config.training
    context.wear(state["snapshot"])
    episode, baseline = state["episode"], state["baseline"]
    right = [i for i, verdict in enumerate(state["verdicts"]) if verdict["correct"]]
    scores = [state["verdicts"][i]["score"] for i in right]
    student = context.student
    prompts = student.template.prompts([student.chat(state["questions"][i]["text"]) for i in right])
    loss = policy_gradient_update(
        student,
        [Example(prompt, state["student_tokens"][i]) for prompt, i in zip(prompts, right, strict=True)],
        scores,
        baseline=baseline,
        batch_size=training.batch_size,
        learning_rate=learning_rate(context.student.learning_rate, (episode - 1) / training.num_episodes),
    )
    earned = sum(scores)
    context.ledger.upsert(
        "samples",
        [{"episode": episode, "position": i, "reward": score} for i, score in zip(right, scores, strict=True)],
    )
    snapshot = context.commit(episode, "reward")
    context.ledger.upsert(
        "episodes", [{"episode": episode, "reward": earned, "reward_loss": loss, "snapshot": snapshot}]
    )
    return {"snapshot": snapshot, "reward_total": state["reward_total"] + earned}
