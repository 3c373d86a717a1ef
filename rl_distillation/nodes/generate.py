"""Opens an episode: takes the next questions, and lets the last episode's rewards move the baseline."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime

from rl_distillation.graph.context import Context
from rl_distillation.graph.state import State
from rl_distillation.learning.policy_gradient import next_baseline


def generate(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The next episode's questions. When the source has no more, the run ends with the episode before."""
    context, config = runtime.context, runtime.context.config
    episode = state["episode"] + 1
    questions, cursor = context.source.take(episode, state["cursor"], config.training.questions_per_episode)
    if not questions:
        return {"last": True, "questions": []}
    last = episode >= config.training.num_episodes
    rewards = [v["score"] if v["correct"] else 0.0 for v in state["verdicts"] if v["correct"] is not None]
    return {
        "episode": episode,
        "cursor": cursor,
        "last": last,
        "due": last or episode % config.evaluation.every == 0,
        "questions": [q.to_json() for q in questions],
        "baseline": next_baseline(state["baseline"], rewards, first=state["episode"] == 1),
    }
