"""Teaches wrong answers: corrective updates on the teacher's answer, mixed with replay."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.learning.corrective import corrective_update
from rl_distillation.learning.schedule import learning_rate


def teach(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The weights after correction."""
    context, training = runtime.context, runtime.context.config.training
    context.wear(state["snapshot"])
    episode = state["episode"]
    judged = zip(state["questions"], state["teacher_answers"], state["verdicts"], strict=True)
    loss = corrective_update(
        context.student,
        [(q["text"], answer) for q, answer, verdict in judged if verdict["correct"] is False],
        context.replay.before(episode),
        updates=training.updates_per_episode,
        batch_size=training.batch_size,
        replay_share=training.replay_share,
        learning_rate=lambda part: learning_rate(
            context.student.learning_rate, (episode - 1 + part) / training.num_episodes
        ),
        seed=context.seed(episode, "teach"),
    )
    snapshot = context.commit(episode, "teach")
    context.ledger.upsert("episodes", [{"episode": episode, "teach_loss": loss, "snapshot": snapshot}])
    return {"snapshot": snapshot}
