"""What a question is, and what every source of questions can do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Question:
    """A question, with its known true answer and topic where the source has them."""

    text: str
    gold: str | None = None
    topic: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data for the graph's state."""
        return asdict(self)


def wording(text: str) -> str:
    """The text without case, punctuation and spacing: two questions with the same wording are one question."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


class Source(Protocol):
    """Gives each episode its questions. The same (episode, cursor) gives the same questions again."""

    def heldout(self) -> list[Question]:
        """The questions kept for evaluation, none of which `take` ever gives."""
        ...

    def take(self, episode: int, cursor: int, n: int) -> tuple[list[Question], int]:
        """Up to `n` questions and the cursor after them; an empty list means that the source is exhausted."""
        ...
