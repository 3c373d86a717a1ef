"""A local Hugging Face model as a LangChain chat model that answers many chats in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from rl_distillation.models.generation import generate
from rl_distillation.models.loading import demo_or_path, load_model, pick_device
from rl_distillation.models.template import Template


class LocalChatModel(BaseChatModel):
    """A transformers model in this process. Sampling is reproducible: `seed` decides what is drawn.

    Raises UserError when the model cannot be loaded.
    """

    path: str
    """`demo`, a model folder or a hub id."""
    place: str = "teacher.model_name"
    """The setting that named the model, for errors."""
    temperature: float = 0.0
    max_tokens: int = 256
    seed: int = 0

    _model: Any = PrivateAttr()
    _template: Template = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        path = demo_or_path(self.path, "teacher")
        self._model, tokenizer = load_model(path, self.place, pick_device())
        self._template = Template(tokenizer)

    @property
    def _llm_type(self) -> str:
        return "rl-distillation-local"

    @property
    def parameters(self) -> int:
        """How many parameters the model has."""
        return int(self._model.num_parameters())

    def _answer(self, chats: list[list[BaseMessage]], **options: Any) -> list[AIMessage]:
        prompts = self._template.prompts([convert_to_openai_messages(chat) for chat in chats])
        rows = generate(
            self._model,
            self._template.tokenizer,
            prompts,
            max_new_tokens=options.get("max_tokens", self.max_tokens),
            temperature=options.get("temperature", self.temperature),
            seed=options.get("seed", self.seed),
        )
        return [
            AIMessage(
                self._template.text(row),
                usage_metadata={
                    "input_tokens": len(prompt), "output_tokens": len(row), "total_tokens": len(prompt) + len(row)
                },
            )
            for prompt, row in zip(prompts, rows, strict=True)
        ]  # fmt: skip

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer([messages], **kwargs)[0])])

    def batch(self, inputs: Sequence[Any], config: Any = None, **kwargs: Any) -> list[AIMessage]:  # type: ignore[override]
        """Answer all inputs in one batch on the device instead of one after the other."""
        kwargs.pop("return_exceptions", None)
        return self._answer([self._convert_input(i).to_messages() for i in inputs], **kwargs)

    def batch_as_completed(  # type: ignore[override]
        self, inputs: Sequence[Any], config: Any = None, **kwargs: Any
    ) -> Iterator[tuple[int, AIMessage]]:
        """The answers of one batch, with their places; all complete together."""
        yield from enumerate(self.batch(inputs, config, **kwargs))
