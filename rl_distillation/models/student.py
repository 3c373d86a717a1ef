"""The student: a frozen causal language model with LoRA adapters that learn while it is in use.

It is asked, trained and evaluated through one template. All learning goes through `update`, one AdamW step on a
weighted token log-likelihood, which is what every update rule of this project comes down to (see `learning`).

LoRA: Hu et al. 2021, arXiv 2106.09685, on all linear layers. Left out: quantised base weights, sharding.
"""

from __future__ import annotations

import inspect
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from rl_distillation.config import StudentConfig
from rl_distillation.errors import UserError
from rl_distillation.models.generation import generate, left_pad
from rl_distillation.models.loading import demo_or_path, load_model, pick_device
from rl_distillation.models.prompts import answer_messages
from rl_distillation.models.template import Template

ADAPTER, OPTIMIZER = "adapter_model.safetensors", "optimizer.safetensors"


@dataclass(frozen=True)
class Completion:
    """A sampled answer: what it says, and the very tokens, which a policy gradient needs."""

    text: str
    tokens: list[int]


@dataclass(frozen=True)
class Example:
    """One sequence to learn from. The loss is on `completion` alone, times `weight`."""

    prompt: list[int]
    completion: list[int]
    weight: float = 1.0


class Student:
    """A student model that can answer, learn, and be put back to any snapshot of itself.

    Raises UserError when the model cannot be loaded.
    """

    def __init__(self, config: StudentConfig, seed: int) -> None:
        self.config = config
        self.device = pick_device(config.device)
        path = demo_or_path(config.model_path, "student")
        model, self.tokenizer = load_model(path, "student.model_path", self.device, config.trust_remote_code)
        self.parameters = model.num_parameters()
        self.learning_rate = config.learning_rate or (2e-3 if self.parameters < 10_000_000 else 2e-4)
        self.template = Template(self.tokenizer)
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers; nothing a user could mend
            torch.manual_seed(seed)
            self.model: Any = get_peft_model(
                model,
                LoraConfig(
                    r=config.lora_r, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
                ),
            )
        self.model.eval()
        self._trainable = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self._optimizer = torch.optim.AdamW(
            self._trainable.values(), lr=self.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )
        self.snapshot: str | None = None
        """The snapshot these weights are, or None while they are nobody's."""

    def chat(self, question: str) -> list[dict[str, str]]:
        """The chat in which the student is asked."""
        return answer_messages(question, self.config.system_prompt)

    def answer(self, questions: list[str], *, temperature: float, seed: int) -> list[Completion]:
        """An answer to each question; `temperature` 0 is greedy."""
        rows = generate(
            self.model,
            self.tokenizer,
            self.template.prompts([self.chat(q) for q in questions]),
            max_new_tokens=self.config.max_new_tokens,
            temperature=temperature,
            seed=seed,
        )
        return [Completion(self.template.text(tokens), tokens) for tokens in rows]

    def examples(self, questions: list[str], answers: list[str]) -> list[Example]:
        """Training examples that teach these answers to these questions."""
        chats = [self.chat(q) for q in questions]
        pairs = zip(self.template.prompts(chats), self.template.completions(chats, answers), strict=True)
        return [Example(prompt, completion) for prompt, completion in pairs]

    def logits(self, rows: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The logits that predict each completion token after its prompt.

        Returns `(logits, targets, mask)` of shapes (rows, longest, vocabulary), (rows, longest), (rows, longest).
        Sequences are padded on the left, so completions end together and only the last positions need the output layer.
        """
        keep = max(len(completion) for _, completion in rows)
        ids, attention = left_pad([p + c for p, c in rows], self.tokenizer.pad_token_id, self.device)
        positions = {"position_ids": (attention.cumsum(-1) - 1).clamp(min=0)} if self._takes_positions else {}
        out = self.model(input_ids=ids, attention_mask=attention, logits_to_keep=keep + 1, use_cache=False, **positions)
        lengths = torch.tensor([len(c) for _, c in rows], device=self.device)
        mask = torch.arange(keep, device=self.device) >= (keep - lengths).unsqueeze(1)
        return out.logits[:, -keep - 1 : -1], ids[:, -keep:], mask

    def update(
        self, examples: list[Example], learning_rate: float, temperature: float = 1.0, at_a_time: int | None = None
    ) -> float:
        """One AdamW step on the weighted negative log-likelihood of the completions, averaged over their tokens.

        `temperature` divides the logits, so that a policy gradient sees the distribution that was sampled from.
        `at_a_time` examples pass through the model together (all, when None); the gradient is the same. Returns the
        loss. The weights are nobody's snapshot afterwards.
        """
        self.snapshot = None
        self._optimizer.zero_grad(set_to_none=True)
        tokens, size = sum(len(e.completion) for e in examples), at_a_time or len(examples)
        total = 0.0
        for start in range(0, len(examples), size):
            part = examples[start : start + size]
            logits, targets, mask = self.logits([(e.prompt, e.completion) for e in part])
            scores = (logits.float() / temperature).log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
            weights = torch.tensor([e.weight for e in part], device=self.device).unsqueeze(1)
            loss = -(scores * weights * mask).sum() / tokens
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self._trainable.values(), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        return total

    @torch.inference_mode()
    def kl_to_base(self, questions: list[str], completions: list[Completion]) -> float:
        """Mean KL(student || base) per completion token, in nats: how far the adapters have moved the model."""
        prompts = self.template.prompts([self.chat(q) for q in questions])
        rows = [(p, c.tokens) for p, c in zip(prompts, completions, strict=True) if c.tokens]
        total, count = 0.0, 0
        for start in range(0, len(rows), 64):
            logits, _, mask = self.logits(rows[start : start + 64])
            with self.model.disable_adapter():
                base, _, _ = self.logits(rows[start : start + 64])
            p, q = logits.float().log_softmax(-1), base.float().log_softmax(-1)
            total += float((((p.exp() * (p - q)).sum(-1)) * mask).sum())
            count += int(mask.sum())
        return total / max(count, 1)

    def save(self, folder: Path) -> None:
        """Write adapter and optimizer state into `folder` as safetensors. Raises OSError when the disk fails."""
        adapter = {k: v.contiguous() for k, v in get_peft_model_state_dict(self.model).items()}
        state = self._optimizer.state
        moments = {f"{n}.{key}": value for n, p in self._trainable.items() for key, value in state[p].items()}
        try:
            save_file(adapter, folder / ADAPTER, metadata={"format": "pt"})
            save_file(moments, folder / OPTIMIZER, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{folder}: {error}") from error

    def load(self, folder: Path) -> None:
        """Become the snapshot in `folder`, bit by bit. Raises UserError when a file is missing or damaged."""
        try:
            adapter = load_file(folder / ADAPTER, device=str(self.device))
            tensors = load_file(folder / OPTIMIZER, device=str(self.device))
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"{folder}: the adapter snapshot is missing or damaged ({error}); "
                "restore it from a copy, or fork the run at an earlier episode"
            ) from None
        set_peft_model_state_dict(self.model, adapter)
        self._optimizer.state.clear()
        for name, parameter in self._trainable.items():
            keys = ("step", "exp_avg", "exp_avg_sq")
            state = {key: tensors[f"{name}.{key}"] for key in keys if f"{name}.{key}" in tensors}
            if state:
                self._optimizer.state[parameter] = state
        self.snapshot = folder.name

    def export(self, folder: Path, merged: bool) -> None:
        """Write a PEFT adapter, or with `merged` a standalone model; both with the tokenizer."""
        if merged:
            # A copy is merged: unmerging in place would not bring back every bit of the live student.
            deepcopy(self.model).merge_and_unload().save_pretrained(folder)
        else:
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
