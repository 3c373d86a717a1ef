"""The demo run's settings: the two models of this folder, tuned for three minutes on two CPU cores."""

from __future__ import annotations

from rl_distillation.config import Config
from rl_distillation.judging.embedding import offline_available


def demo_config(seed: int = 0, episodes: int | None = None) -> Config:
    """The configuration `rl-distill demo` runs."""
    settings = {
        "student": {"max_new_tokens": 8, "learning_rate": 3e-3},
        "training": {
            "num_episodes": episodes or 60,
            "questions_per_episode": 64,
            "batch_size": 96,
            "updates_per_episode": 12,
            "replay_share": 0.6,
            "seed": seed,
        },
        # Without the extra `offline` the cascade goes on without embeddings: the demo must not need a network.
        "evaluation": {"every": 10, "embedding_model": "offline" if offline_available() else None},
        "questions": {"per_call": 4},
    }
    return Config.parse(settings, "demo")
