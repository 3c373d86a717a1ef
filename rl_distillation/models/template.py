"""One chat template for sampling, training and evaluation, so that the student is always spoken to in the same way.

A model without a template of its own gets a plain question-and-answer form.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

Chat = list[dict[str, str]]


class Template:
    """Turns chats into prompt tokens and answers into completion tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def _render(self, chat: Chat, generate: bool) -> str:
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=generate)
            return str(text)
        forms = {
            "system": "{}\n\n",
            "user": "Question: {}\n",
            "assistant": "Answer: {}" + str(self.tokenizer.eos_token),
        }
        start = self.tokenizer.bos_token or ""
        return start + "".join(forms[m["role"]].format(m["content"]) for m in chat) + ("Answer:" if generate else "")

    def prompts(self, chats: list[Chat]) -> list[list[int]]:
        """The token ids of each chat, up to the place where the model answers."""
        return self._ids([self._render(chat, generate=True) for chat in chats])

    def completions(self, chats: list[Chat], answers: list[str]) -> list[list[int]]:
        """The token ids of each answer as the template would continue the prompt, up to and with the end of turn."""
        texts = []
        for chat, answer in zip(chats, answers, strict=True):
            prompt = self._render(chat, generate=True)
            whole = self._render([*chat, {"role": "assistant", "content": answer}], generate=False)
            eos = str(self.tokenizer.eos_token)
            # Some templates put more (an empty thinking block) into the prompt than into a finished turn.
            text = whole[len(prompt) :] if whole.startswith(prompt) else answer + eos
            texts.append(text[: text.rfind(eos) + len(eos)] if eos in text else text + eos)
        return self._ids(texts)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []

    def text(self, tokens: list[int]) -> str:
        """What a completion says."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
