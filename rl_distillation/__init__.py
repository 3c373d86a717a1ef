"""rl_distillation: a small model of your own learns from a large one, online, as a LangGraph state machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Checkpoints may hold plain data only. LangGraph reads this once, when it is imported.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

if TYPE_CHECKING:
    from rl_distillation.agent import DistillationAgent
    from rl_distillation.config import Config

__all__ = ["Config", "DistillationAgent"]
_HOMES = {"DistillationAgent": "rl_distillation.agent", "Config": "rl_distillation.config"}


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that `import rl_distillation` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
