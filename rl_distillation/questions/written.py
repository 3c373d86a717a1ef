"""Questions written by the teacher, topic by topic.

Each call asks for a few questions on one topic; what comes back is split into lines and cleaned. A line that repeats
another, or whose wording is held out for evaluation, is refused, and the teacher is asked again for what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rl_distillation.errors import EndpointError
from rl_distillation.models.caller import Caller
from rl_distillation.models.prompts import questions_messages
from rl_distillation.questions.question import Question, wording

ROUNDS = 4
"""How often the teacher is asked again for an episode before the episode makes do with fewer questions."""
_MARKER = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.):])\s+")


def lines(reply: str) -> list[str]:
    """The questions in a reply: its lines without bullets and numbers, and without what is no question."""
    cleaned = (_MARKER.sub("", line).strip().strip('"') for line in reply.splitlines())
    return [line for line in cleaned if 2 <= len(line.split()) <= 60 and not line.endswith(":")]


class Written:
    """The teacher as the source of questions.

    `heldout` are the questions kept for evaluation, where they are known already; else `size` of them are written when
    they are first asked for. `refuse` says of a wording that it must not be used; `truth` gives the true answer where
    the domain knows it.
    """

    def __init__(
        self,
        caller: Caller,
        topics: list[str],
        per_call: int,
        seed: int,
        heldout: list[Question] | None = None,
        size: int = 0,
        refuse: Callable[[str], bool] = lambda text: False,
        truth: Callable[[str], str | None] = lambda text: None,
    ) -> None:
        self._caller, self._topics, self._per_call, self._seed = caller, topics, per_call, seed
        self._refuse, self._truth = refuse, truth
        self._size, self._heldout = size, heldout or []
        self._held = {wording(q.text) for q in self._heldout}

    def heldout(self) -> list[Question]:
        if not self._heldout and self._size:
            self._heldout = self._write(0, self._size)
            self._held = {wording(q.text) for q in self._heldout}
        return self._heldout

    def take(self, episode: int, cursor: int, n: int) -> tuple[list[Question], int]:
        questions = self._write(episode, n)
        return questions, cursor + len(questions)

    def _write(self, episode: int, n: int) -> list[Question]:
        """Up to `n` different questions; the same episode gives the same ones."""
        found: dict[str, Question] = {}
        for round_ in range(ROUNDS):
            missing = n - len(found)
            if missing <= 0:
                break
            calls = -(-missing // self._per_call)
            # Topics take turns, and every episode starts with another one.
            topics = [self._topics[(episode + round_ + i) % len(self._topics)] for i in range(calls)]
            seed = ((self._seed * 1_000_003 + episode) * ROUNDS + round_) % 2**31
            self._ask(topics, seed, found, n)
        if not found:
            raise EndpointError(f"{self._caller.role} {self._caller.name}: wrote no usable question in {ROUNDS} tries")
        return list(found.values())

    def _ask(self, topics: list[str], seed: int, found: dict[str, Question], n: int) -> None:
        chats = [questions_messages(topic, self._per_call) for topic in topics]
        replies = self._caller.ask(chats, temperature=1.0, seed=seed)
        for topic, reply in zip(topics, replies, strict=True):
            for text in lines(reply):
                key = wording(text)
                if len(found) < n and key not in found and key not in self._held and not self._refuse(text):
                    found[key] = Question(text, self._truth(text), topic)
