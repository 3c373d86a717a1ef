"""Asks a chat model many things, pays for each once, and loses no reply.

Every reply goes to the ledger as it arrives, under a hash of (role, model, chat, sampling). Asking the same again, in
this run or after a crash, reads it from there. So the number of rows is the number of calls made, and lookups minus
rows is what the cache saved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.errors import EndpointError
from rl_distillation.models.chat import display_name
from rl_distillation.models.local import LocalChatModel
from rl_distillation.models.template import Chat

LOCAL_BATCH = 64
"""How many replies of a local model a crash can cost at most."""


class Caller:
    """One chat model in one role ("teacher" or "judge")."""

    def __init__(self, model: BaseChatModel, role: str, ledger: Ledger, concurrency: int) -> None:
        self.model, self.role, self.ledger = model, role, ledger
        self.name = display_name(model)
        self.concurrency = concurrency
        self.asked = 0
        """Answered lookups since this process started."""
        self.episode = 0
        """The episode that is charged with the calls."""
        self.failure = ""
        """Why a call last failed, in one line."""

    def ask(self, chats: list[Chat], *, temperature: float | None = None, seed: int | None = None) -> list[str]:
        """The reply to each chat. With a `seed` every chat is a draw of its own, also when two are the same.

        Raises EndpointError when the model cannot be reached or refuses; replies that arrived before are kept.
        """
        replies = self.try_to_ask(chats, temperature=temperature, seed=seed)
        if None in replies:
            raise EndpointError(f"{self.role} {self.name}: {self.failure}")
        return [reply or "" for reply in replies]

    def try_to_ask(
        self, chats: list[Chat], *, temperature: float | None = None, seed: int | None = None
    ) -> list[str | None]:
        """As `ask`, with None for what got no reply; `failure` then says why."""
        keys = [self._key(chat, temperature, seed, i) for i, chat in enumerate(chats)]
        replies = {key: self.ledger.reply(key) for key in keys}
        missing = {key: chat for key, chat in zip(keys, chats, strict=True) if replies[key] is None}
        if missing:
            replies.update(self._call(missing, self._sampling(temperature, seed)))
        found = [replies[key] for key in keys]
        self.asked += len(found) - found.count(None)
        return found

    def _call(self, chats: dict[str, Chat], sampling: dict[str, Any]) -> dict[str, str]:
        """Ask what is missing; what failed is not in the answer.

        An endpoint's replies are committed one by one, for each was paid for. A local model's are committed by the
        batch: the draws in a batch depend on one another, so half of one could not be completed to the same bits.
        """
        if not isinstance(self.model, LocalChatModel):
            return dict(self._stream(chats, sampling))
        keys = list(chats)
        replies: dict[str, str] = {}
        for start in range(0, len(keys), LOCAL_BATCH):
            with self.ledger.transaction():
                replies.update(self._stream({key: chats[key] for key in keys[start : start + LOCAL_BATCH]}, sampling))
        return replies

    def _stream(self, chats: dict[str, Chat], sampling: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Keys and replies as they arrive, each entered in the ledger."""
        keys = list(chats)
        for place, message in self.model.batch_as_completed(
            list(chats.values()), {"max_concurrency": self.concurrency}, return_exceptions=True, **sampling
        ):
            if isinstance(message, Exception):
                self.failure = self._first_line(message)
                continue
            usage: Any = message.usage_metadata or {}
            self.ledger.add_reply(
                keys[place],
                role=self.role,
                model=self.name,
                episode=self.episode,
                reply=str(message.text),
                tokens_in=usage.get("input_tokens", 0),
                tokens_out=usage.get("output_tokens", 0),
                inherited=0,
            )
            yield keys[place], str(message.text)

    def _key(self, chat: Chat, temperature: float | None, seed: int | None, place: int) -> str:
        draw = None if seed is None else [temperature, seed, place]
        settings = {name: getattr(self.model, name, None) for name in ("temperature", "max_tokens", "openai_api_base")}
        text = json.dumps([self.role, self.name, settings, chat, draw], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _sampling(self, temperature: float | None, seed: int | None) -> dict[str, Any]:
        """Only a model of our own is known to take a seed; any other is asked as it was built."""
        if not isinstance(self.model, LocalChatModel):
            return {}
        given = {"temperature": temperature, "seed": seed}
        return {name: value for name, value in given.items() if value is not None}

    def _first_line(self, error: Exception) -> str:
        """What went wrong, without the key, which some servers repeat."""
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        for value in vars(self.model).values():
            if isinstance(value, SecretStr) and value.get_secret_value():
                text = text.replace(value.get_secret_value(), "***")
        return text[:300]
