"""What travels along the edges: small, flat, plain JSON, and the same size at episode 1 as at episode 100,000.

Only the current episode's texts are here; history is in the ledger, weights are in the snapshot that `snapshot` names.
"""

from __future__ import annotations

from typing import Any, TypedDict


class State(TypedDict):
    """The graph's state. Lists run in parallel over the questions of the current episode."""

    episode: int
    """The current episode, from 1; 0 before the first."""
    cursor: int
    """How many questions the source has given."""
    due: bool
    """Whether this episode ends with an evaluation."""
    last: bool
    """Whether the run ends after this episode."""
    questions: list[dict[str, Any]]
    """`{text, gold, topic}` each."""
    teacher_answers: list[str]
    student_answers: list[str]
    student_tokens: list[list[int]]
    """The sampled tokens of each student answer, for the policy gradient."""
    verdicts: list[dict[str, Any]]
    """`{correct, score, stage, reason}` each; `correct` is None for no verdict."""
    baseline: float
    """The moving average of scores that this episode's rewards are measured against."""
    snapshot: str
    """The adapter snapshot that holds the current weights."""
    best: str
    """The snapshot with the best held-out accuracy so far."""
    evaluation: dict[str, Any]
    """The last evaluation: `{episode, accuracy, low, high, best}`; empty before the first."""
    asked: dict[str, int]
    """Lookups by role ("teacher", "judge"), cached or not, over all processes of the run."""
    reward_total: float
    """The sum of all rewards."""


def initial_state() -> State:
    """The state before anything has happened."""
    return State(
        episode=0,
        cursor=0,
        due=True,
        last=False,
        questions=[],
        teacher_answers=[],
        student_answers=[],
        student_tokens=[],
        verdicts=[],
        baseline=0.0,
        snapshot="",
        best="",
        evaluation={},
        asked={"teacher": 0, "judge": 0},
        reward_total=0.0,
    )
