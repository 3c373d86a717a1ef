"""An LLM as judge: asked for a verdict in JSON, believed only when it gives one.

A reply that is no verdict, or none at all, yields "no verdict" for the pair, not "wrong": the judge failed, not the
student. The answer stands between tags in the prompt as data (`models.prompts`).
"""

from __future__ import annotations

import json
import re

from pydantic import BaseModel, Field, StrictBool, ValidationError

from rl_distillation.judging.verdict import Pair, Verdict
from rl_distillation.models.caller import Caller
from rl_distillation.models.prompts import judge_messages


class Reply(BaseModel):
    """What the judge is asked to say."""

    correct: StrictBool
    score: float = Field(ge=0, le=1)
    reason: str = ""


_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)


def parse(text: str) -> Reply | None:
    """The verdict in a reply, alone or inside other text; None when there is not exactly one."""
    found = []
    for candidate in _OBJECT.findall(text):
        try:
            found.append(Reply.model_validate(json.loads(candidate)))
        except (json.JSONDecodeError, ValidationError):
            continue
    return found[0] if len(found) == 1 else None


class LLMJudge:
    """Decides every pair, or says that it could not."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def decide(self, pairs: list[Pair]) -> list[Verdict | None]:
        replies = self._caller.try_to_ask([judge_messages(p.question, p.reference, p.answer) for p in pairs])
        return [self._verdict(reply) for reply in replies]

    def _verdict(self, reply: str | None) -> Verdict:
        if reply is None:
            return Verdict(None, 0.0, "llm", f"the judge did not answer ({self._caller.failure})")
        verdict = parse(reply)
        if verdict is None:
            return Verdict(None, 0.0, "llm", "the judge's reply was no verdict")
        return Verdict(verdict.correct, verdict.score, "llm", verdict.reason[:200])
