"""An LLM as judge: asked for a verdict in JSON, believed only when it gives one.

A reply that is no verdict, or none at all, yields "no verdict" for the pair, not "wrong": the judge failed, not the
student. The answer stands between tags in the prompt as data (`models.prompts`).
"""

from __future__ import annotations

import json
import logging
import re

from pydantic import BaseModel, Field, StrictBool, ValidationError

from rl_distillation.errors import EndpointError
from rl_distillation.judging.verdict import Pair, Verdict
from rl_distillation.models.caller import Caller
from rl_distillation.models.prompts import judge_messages

log = logging.getLogger(__name__)


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
        try:
            replies = self._caller.ask([judge_messages(p.question, p.reference, p.answer) for p in pairs])
        except EndpointError as error:
            log.warning("no verdict for %d answers: %s", len(pairs), error)
            return [Verdict(None, 0.0, "llm", f"the judge did not answer ({error})")] * len(pairs)
        return [self._verdict(parse(reply)) for reply in replies]

    def _verdict(self, reply: Reply | None) -> Verdict:
        if reply is None:
            return Verdict(None, 0.0, "llm", "the judge's reply was no verdict")
        return Verdict(reply.correct, reply.score, "llm", reply.reason[:200])
