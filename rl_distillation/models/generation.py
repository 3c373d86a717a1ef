"""Batched generation with left padding and a KV cache, reproducible from a seed.

Prompts are sorted by length before they are cut into batches, so that little is padded, and every batch draws from a
seed of its own: the answers depend on (prompts, seed) alone.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

BATCH = 128
"""Prompts generated for at a time."""


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[list[int]]:
    """The completion of each prompt as token ids, the end token included where the model reached it.

    `temperature` 0 is greedy. Sampling is from the whole distribution (no top-k, no top-p), so that the log-probability
    of what was sampled is the model's own.
    """
    ends = model.generation_config.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    ends = sorted({*ends, tokenizer.eos_token_id} - {None})
    sampling: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    completions: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        ids, attention = left_pad([prompts[i] for i in rows], tokenizer.pad_token_id, model.device)
        with torch.random.fork_rng():
            torch.manual_seed((seed * 1_000_003 + start) % 2**63)
            out = model.generate(
                input_ids=ids,
                attention_mask=attention,
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=ends,
                use_cache=True,
                **sampling,
            )
        for i, tokens in zip(rows, out[:, ids.shape[1] :].tolist(), strict=True):
            stop = next((n + 1 for n, token in enumerate(tokens) if token in ends), len(tokens))
            completions[i] = tokens[:stop]
    return completions


def left_pad(rows: list[list[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """`(ids, attention)` of shape (rows, longest), padded on the left so that all rows end together."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=device)
    attention = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, attention
