"""The run's judge, put together from the config: a cascade, the LLM alone, or the promised metric alone.

The cascade asks guards, exact comparison, embeddings and the LLM in this order, cheapest first; each decides what it is
sure of and passes the rest on. What nobody decided has no verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rl_distillation.config import Config
from rl_distillation.errors import UserError
from rl_distillation.judging.bleu import Bleu
from rl_distillation.judging.embedding import EmbeddingStage, Similarity, load_embeddings
from rl_distillation.judging.exact import Exact, same
from rl_distillation.judging.guards import Guards
from rl_distillation.judging.llm import LLMJudge
from rl_distillation.judging.verdict import Pair, Stage, Verdict
from rl_distillation.models.caller import Caller

NO_VERDICT = Verdict(None, 0.0, "none", "no stage could decide")


class Judge:
    """Asks its stages in order until every pair is decided."""

    def __init__(self, stages: list[Stage]) -> None:
        self.stages = stages

    def __call__(self, pairs: list[Pair]) -> list[Verdict]:
        """A verdict for each pair, in order."""
        verdicts: dict[int, Verdict] = {}
        for stage in self.stages:
            open_ = [i for i in range(len(pairs)) if i not in verdicts]
            if not open_:
                break
            decided = zip(open_, stage.decide([pairs[i] for i in open_]), strict=True)
            verdicts.update({i: verdict for i, verdict in decided if verdict is not None})
        return [verdicts.get(i, NO_VERDICT) for i in range(len(pairs))]


@dataclass(frozen=True)
class Metric:
    """One number against a threshold: what `evaluation.similarity_metric` means by itself."""

    name: str
    scores: Callable[[list[Pair]], list[float]]
    threshold: float

    def decide(self, pairs: list[Pair]) -> list[Verdict | None]:
        return [
            Verdict(score >= self.threshold, min(max(score, 0.0), 1.0), self.name, f"{self.name} {score:.2f}")
            for score in self.scores(pairs)
        ]


def exact_scores(pairs: list[Pair]) -> list[float]:
    """1 where the answer is the same as the reference, else 0."""
    return [float(same(p.reference, p.answer) is True) for p in pairs]


def exact_judge() -> Judge:
    """Guards and normalised equality alone; for references that are the truth and the only right answer."""
    return Judge([Guards(), Metric("exact", exact_scores, 0.5)])


def build_judge(config: Config, caller: Caller) -> Judge:
    """The judge that `config.evaluation` asks for; `caller` reaches the LLM judge.

    Raises UserError when a model it needs cannot be loaded.
    """
    evaluation = config.evaluation
    needs_embeddings = evaluation.similarity_metric == "semantic" and evaluation.judge != "llm"
    similarity = None
    if needs_embeddings and evaluation.embedding_model:
        similarity = Similarity(load_embeddings(evaluation.embedding_model))
    if evaluation.judge == "llm":
        return Judge([Guards(), LLMJudge(caller)])
    if evaluation.judge == "cascade":
        middle: list[Stage] = [EmbeddingStage(similarity)] if similarity else []
        return Judge([Guards(), Exact(), *middle, LLMJudge(caller)])
    if evaluation.similarity_metric == "semantic":
        if similarity is None:
            raise UserError("evaluation.embedding_model: empty, but similarity_metric semantic needs one")
        scores = similarity.scores
    else:
        scores = {"exact": exact_scores, "bleu": Bleu().scores}[evaluation.similarity_metric]
    return Judge([Guards(), Metric(evaluation.similarity_metric, scores, config.training.reward_threshold)])
