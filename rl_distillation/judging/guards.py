"""Answers that are none, caught before any judge sees them.

Reference LLM judges can be talked into "correct" by an empty answer, a lone colon or an opener such as "Thought
process:" ("One Token to Fool LLM-as-a-Judge", arXiv 2507.08794). None of these is an answer to anything.
"""

from __future__ import annotations

import re

from rl_distillation.judging.exact import normalise
from rl_distillation.judging.verdict import Pair, Verdict

OPENERS = re.compile(
    r"(thought process|let'?s (solve|think)( this)?( problem)?( step by step)?"
    r"|(the )?(solution|answer|final answer|reasoning)( is)?|step \d+)\W*",
    re.IGNORECASE,
)


class Guards:
    """Rejects empty answers, mere punctuation, mere openers, and the question said back."""

    def decide(self, pairs: list[Pair]) -> list[Verdict | None]:
        return [self._decide(pair) for pair in pairs]

    def _decide(self, pair: Pair) -> Verdict | None:
        answer = pair.answer.strip()
        reason = None
        if not answer:
            reason = "empty"
        elif not any(c.isalnum() for c in answer) and normalise(answer) != normalise(pair.reference):
            reason = "only punctuation"
        elif OPENERS.fullmatch(answer):
            reason = "an opener without an answer"
        elif normalise(answer) == normalise(pair.question) != normalise(pair.reference):
            reason = "the question said back"
        return Verdict(False, 0.0, "guard", reason) if reason else None
