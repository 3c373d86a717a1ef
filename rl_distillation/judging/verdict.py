"""What a judge is asked and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Pair:
    """An answer to be compared with a reference."""

    question: str
    reference: str
    answer: str


@dataclass(frozen=True)
class Verdict:
    """`correct` is None when no judge could say: such a pair is left out and counted, never called wrong."""

    correct: bool | None
    score: float
    """Between 0 and 1."""
    stage: str
    """Which stage decided."""
    reason: str


class Stage(Protocol):
    """A judge that decides what it is sure of and passes the rest on as None."""

    def decide(self, pairs: list[Pair]) -> list[Verdict | None]: ...
