"""Sentence BLEU through sacrebleu (Post 2018, arXiv 1804.08771), scaled to 0..1."""

from __future__ import annotations

from sacrebleu.metrics.bleu import BLEU

from rl_distillation.judging.verdict import Pair


class Bleu:
    """Scores pairs by n-gram overlap; `effective_order` so that short answers are not all zero."""

    def __init__(self) -> None:
        self._bleu = BLEU(effective_order=True, lowercase=True)

    def scores(self, pairs: list[Pair]) -> list[float]:
        """The BLEU of each answer against its reference, between 0 and 1."""
        return [min(self._bleu.sentence_score(p.answer, [p.reference]).score / 100, 1.0) for p in pairs]
