"""What a run achieved, in numbers, read from its ledger and its last state."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.judging.exact import same


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927); (0, 1) when nothing was tried."""
    if trials == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def knowledge_transfer_rate(before: float, after: float, teacher: float | None) -> float | None:
    """The share of the gap between teacher and student that was closed; None when the teacher is not better."""
    if teacher is None or teacher <= before:
        return None
    return (after - before) / (teacher - before)


@dataclass(frozen=True)
class Result:
    """The metrics of a run, as `--json` prints them. Accuracies are held-out shares between 0 and 1."""

    run: str
    status: str
    """`finished`, or `paused` when it can be resumed."""
    episodes: int
    questions: int
    accuracy_before: float | None
    accuracy_after: float | None
    evaluated_at: int | None
    """The episode after which `accuracy_after` was measured; earlier than `episodes` in a paused run."""
    accuracy_ci: tuple[float, float] | None
    """The 95 % Wilson interval of `accuracy_after`."""
    teacher_accuracy: float | None
    """Of the teacher on the same questions; 1 by definition where its own answers are the reference."""
    training_accuracy: float | None
    """The share of training questions that the student answered right when they were asked."""
    no_verdict: int
    judge_accuracy: float | None
    """The share of verdicts that agree with the known truth; None when no truth is known."""
    reward_total: float
    knowledge_transfer_rate: float | None
    knowledge_transfer_per_100_questions: float | None
    size_reduction: float | None
    """1 - student parameters / teacher parameters; None when the teacher's size is unknown."""
    loss: float | None
    """The mean corrective loss of the last episode that taught."""
    kl_to_base: float | None
    teacher_calls: int
    judge_calls: int
    cache_hits: int
    tokens_in: int
    tokens_out: int
    seconds_per_node: dict[str, float]
    wall_s: float
    adapter_sha256: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def summarise(run: str, ledger: Ledger) -> Result:
    """The result of a run so far, from its ledger alone."""
    facts = ledger.facts()
    asked: dict[str, int] = json.loads(facts.get("asked") or "{}")
    evaluations = ledger.rows("select * from evaluations order by episode")
    first, last = (evaluations[0], evaluations[-1]) if evaluations else (None, None)
    before, after = (row["accuracy"] if row else None for row in (first, last))
    teacher = ledger.value("select avg(teacher_correct) from heldout")
    sums = ledger.rows(
        "select count(*) as episodes, coalesce(sum(questions), 0) as questions, coalesce(sum(correct), 0) as correct, "
        "coalesce(sum(wrong), 0) as wrong, coalesce(sum(no_verdict), 0) as no_verdict, "
        "coalesce(sum(reward), 0) as reward from episodes"
    )[0]
    by_role = ledger.rows(
        "select role, count(*) as calls, sum(tokens_in) as tokens_in, sum(tokens_out) as tokens_out "
        "from replies where not inherited group by role"
    )
    calls = {row["role"]: row for row in by_role}
    total = {key: sum(row[key] for row in calls.values()) for key in ("calls", "tokens_in", "tokens_out")}
    nodes = ledger.rows("select node, sum(seconds) as seconds from timings group by node order by min(rowid)")
    rate = None if before is None or after is None else knowledge_transfer_rate(before, after, teacher)
    per_100 = None if rate is None or not sums["questions"] else rate / sums["questions"] * 100
    sizes = [facts.get(f"{role}_parameters") for role in ("student", "teacher")]
    judged = sums["correct"] + sums["wrong"]
    return Result(
        run=run,
        status=facts.get("status") or "new",
        episodes=sums["episodes"],
        questions=sums["questions"],
        accuracy_before=_rounded(before),
        accuracy_after=_rounded(after),
        evaluated_at=last["episode"] if last else None,
        accuracy_ci=(round(last["low"], 4), round(last["high"], 4)) if after is not None and last else None,
        teacher_accuracy=_rounded(teacher),
        training_accuracy=_rounded(sums["correct"] / judged if judged else None),
        no_verdict=sums["no_verdict"],
        judge_accuracy=_rounded(_judge_accuracy(ledger, facts.get("true_references") == "1")),
        reward_total=round(sums["reward"], 4),
        knowledge_transfer_rate=_rounded(rate),
        knowledge_transfer_per_100_questions=_rounded(per_100, 5),
        size_reduction=_rounded(1 - int(sizes[0]) / int(sizes[1]) if sizes[0] and sizes[1] else None),
        loss=_rounded(
            ledger.value("select teach_loss from episodes where teach_loss is not null order by episode desc")
        ),
        kl_to_base=_rounded(last["kl_to_base"] if last else None),
        teacher_calls=calls.get("teacher", {}).get("calls", 0),
        judge_calls=calls.get("judge", {}).get("calls", 0),
        cache_hits=max(sum(asked.values()) - total["calls"], 0),
        tokens_in=total["tokens_in"],
        tokens_out=total["tokens_out"],
        seconds_per_node={row["node"]: round(row["seconds"], 2) for row in nodes},
        wall_s=round(float(facts.get("wall_s") or 0), 2),
        adapter_sha256=facts.get("adapter_sha256"),
    )


def _judge_accuracy(ledger: Ledger, unique: bool) -> float | None:
    """Of the judged samples whose truth is known: how often the verdict on the student agrees with the truth.

    Where the truth has one right wording (`unique`), another wording is wrong; elsewhere it proves nothing and is left
    out.
    """
    rows = ledger.rows("select gold, student, correct from samples where gold is not null and correct is not null")
    truths = [(same(row["gold"], row["student"]), bool(row["correct"])) for row in rows]
    known = [(bool(truth), verdict) for truth, verdict in truths if truth is not None or unique]
    return sum(truth == verdict for truth, verdict in known) / len(known) if known else None
