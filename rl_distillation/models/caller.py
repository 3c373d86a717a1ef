"""Asks a chat model many things, pays for each once, and loses no reply.

Every reply goes to the ledger as it arrives, under a hash of (role, model, chat, sampling). Asking the same again, in
this run or after a crash, reads it from there. So the number of rows is the number of calls made, and lookups minus
rows is what the cache saved.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.errors import EndpointError
from rl_distillation.models.chat import display_name
from rl_distillation.models.local import LocalChatModel
from rl_distillation.models.template import Chat


class Caller:
    """One chat model in one role ("teacher" or "judge")."""

    def __init__(self, model: BaseChatModel, role: str, ledger: Ledger, concurrency: int) -> None:
        self.model, self.role, self.ledger = model, role, ledger
        self.name = display_name(model)
        self.concurrency = concurrency
        self.asked = 0
        """Lookups since this process started."""

    def ask(self, chats: list[Chat], *, temperature: float | None = None, seed: int | None = None) -> list[str]:
        """The reply to each chat. With a `seed` every chat is a draw of its own, also when two are the same.

        Raises EndpointError when the model cannot be reached or refuses; replies that arrived before are kept.
        """
        self.asked += len(chats)
        keys = [self._key(chat, temperature, seed, i) for i, chat in enumerate(chats)]
        replies = {key: self.ledger.reply(key) for key in keys}
        missing = {key: chat for key, chat in zip(keys, chats, strict=True) if replies[key] is None}
        if missing:
            replies.update(self._call(missing, self._sampling(temperature, seed)))
        return [replies[key] or "" for key in keys]

    def _call(self, chats: dict[str, Chat], sampling: dict[str, Any]) -> dict[str, str]:
        stream = self.model.batch_as_completed(
            list(chats.values()), {"max_concurrency": self.concurrency}, return_exceptions=True, **sampling
        )
        # An endpoint's replies are committed one by one, for each was paid for. A local batch is committed whole: its
        # draws depend on one another, so half a batch could not be completed to the same bits.
        together = self.ledger.transaction() if isinstance(self.model, LocalChatModel) else nullcontext()
        replies: dict[str, str] = {}
        failure: Exception | None = None
        with together:
            for place, message in stream:
                if isinstance(message, Exception):
                    failure = failure or message
                    continue
                key = list(chats)[place]
                replies[key] = str(message.text)
                usage: Any = message.usage_metadata or {}
                self.ledger.add_reply(
                    key,
                    role=self.role,
                    model=self.name,
                    reply=replies[key],
                    tokens_in=usage.get("input_tokens", 0),
                    tokens_out=usage.get("output_tokens", 0),
                )
        if failure is not None:
            raise EndpointError(f"{self.role} {self.name}: {self._first_line(failure)}") from failure
        return replies

    def _key(self, chat: Chat, temperature: float | None, seed: int | None, place: int) -> str:
        draw = None if seed is None else [temperature, seed, place]
        text = json.dumps([self.role, self.name, chat, draw], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _sampling(self, temperature: float | None, seed: int | None) -> dict[str, Any]:
        """Only a model of our own is known to take a seed; any other is asked as it was built."""
        if not isinstance(self.model, LocalChatModel):
            return {}
        given = {"temperature": temperature, "seed": seed}
        return {name: value for name, value in given.items() if value is not None}

    def _first_line(self, error: Exception) -> str:
        """What went wrong, without the key, which some servers repeat."""
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        for value in vars(self.model).values():
            if isinstance(value, SecretStr) and value.get_secret_value():
                text = text.replace(value.get_secret_value(), "***")
        return text
