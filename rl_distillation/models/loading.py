"""Loading a causal language model with its tokenizer from a folder or a hub, safely and with plain errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from rl_distillation.demo import weights
from rl_distillation.errors import UserError

logging.disable_progress_bar()


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU. Raises UserError when the named device is not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise UserError(f"student.device: {name} is not available on this machine; use auto or cpu")
    return torch.device(name)


def demo_or_path(name: str, role: str) -> str:
    """The folder of the demo's `role` model when `name` is "demo", else `name` with `~` expanded."""
    return (
        str(weights.verified(role))
        if name == "demo"
        else str(Path(name).expanduser())
        if name.startswith("~")
        else name
    )


def load_model(
    path: str, place: str, device: torch.device, trust_remote_code: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model (float32 on the CPU, else the dtype it was saved in) in evaluation mode, and its tokenizer.

    Weights come from safetensors alone. `place` is the config key that named the model. Raises UserError when the
    model or its tokenizer is missing or damaged.
    """
    check_folder(path, place)
    options = {"trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left", **options)
        dtype = torch.float32 if device.type == "cpu" else "auto"
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, use_safetensors=True, **options)
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{place}: {path}: {_plainly(path, error)}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    placed: Any = model
    return placed.to(device).eval(), tokenizer


def check_folder(path: str, place: str) -> None:
    """Refuse, without loading anything, what cannot be a model: a path that is not there or lacks a part."""
    folder = Path(path)
    looks_local = path.startswith((".", "/", "~")) or folder.exists() or path.count("/") > 1
    if not looks_local:
        return
    if not folder.is_dir():
        raise UserError(f"{place}: {path}: no such folder; name a model folder, a hub id or demo")
    if (folder / "adapter_config.json").is_file():
        return  # a PEFT adapter; its base model is named inside
    if not (folder / "config.json").is_file():
        raise UserError(f"{place}: {path}: holds no config.json, so it is no Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{place}: {path}: holds no .safetensors weights; save the model with save_pretrained")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise UserError(f"{place}: {path}: holds no tokenizer; save one there with tokenizer.save_pretrained")


def _plainly(path: str, error: Exception) -> str:
    if Path(path).is_dir():
        files = sorted(Path(path).glob("*.safetensors"))
        if isinstance(error, (SafetensorError, RuntimeError)):
            return f"the weights ({', '.join(f.name for f in files)}) are damaged or of another model; fetch them again"
        return f"cannot be loaded ({str(error).splitlines()[0]})"
    return "no such folder, and the hub could not give it; check the name and the network"
