"""Teacher and judge by name: `demo`, `hf:PATH_OR_REPO`, `openai:NAME`, or any LangChain chat model."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from rl_distillation.config import TeacherConfig, expand, secret
from rl_distillation.errors import UserError
from rl_distillation.models.local import LocalChatModel


def chat_model(name: str | BaseChatModel, config: TeacherConfig, place: str = "teacher.model_name") -> BaseChatModel:
    """The chat model called `name`, with the teacher's address, key and limits.

    Raises UserError for an unknown provider, a missing model or a missing key; nothing is sent yet.
    """
    if isinstance(name, BaseChatModel):
        return name
    provider, _, model = name.partition(":") if ":" in name else ("demo" if name == "demo" else "openai", "", name)
    if provider in ("demo", "hf") and model:
        return LocalChatModel(path=model, place=place, temperature=config.temperature, max_tokens=config.max_tokens)
    if provider == "openai" and model:
        from langchain_openai import ChatOpenAI  # half a second that no local model should pay for

        # A server of one's own usually wants no key, but the client insists on having one.
        own_server = config.base_url is not None and config.api_key is None
        key = SecretStr("none") if own_server else secret(config.api_key, "teacher.api_key", "OPENAI_API_KEY")
        return ChatOpenAI(
            model=model,
            api_key=key,
            base_url=config.base_url and expand(config.base_url, "teacher.base_url"),
            temperature=config.temperature,
            max_tokens=config.max_tokens,  # type: ignore[call-arg]
            timeout=config.timeout,
            max_retries=4,
        )
    raise UserError(f"{place}: {name!r} names no model; use demo, openai:NAME or hf:PATH_OR_REPO")


def display_name(model: BaseChatModel) -> str:
    """A name for people and for the reply cache."""
    for attribute in ("path", "model_name", "model"):
        if isinstance(name := getattr(model, attribute, None), str):
            return name
    return type(model).__name__
