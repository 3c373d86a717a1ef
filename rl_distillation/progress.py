"""Shows a run's steps while they happen: a live display in a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rl_distillation.graph.run import Step


class Report:
    """What the steps so far amount to, in the words both displays use."""

    def __init__(self) -> None:
        self.right = self.judged = 0
        self.heldout = ""

    def line(self, step: Step) -> str | None:
        """A line for the log, for the steps that deserve one."""
        changes = step.changes
        if step.node == "judge":
            counts = [v["correct"] for v in changes["verdicts"]]
            self.right, self.judged = counts.count(True), len(counts) - counts.count(None)
        if step.node == "evaluate":
            e = changes["evaluation"]
            if e["accuracy"] is None:
                return f"episode {e['episode']:>4}  held-out: no answer got a verdict"
            self.heldout = f"{e['accuracy']:.1%}"
            interval = f"(95 % interval {e['low']:.1%} to {e['high']:.1%})"
            return f"episode {e['episode']:>4}  held-out {e['accuracy']:6.1%}  {interval}"
        return None


@contextmanager
def shown(steps: Iterable[Step], episodes: int, console: Console) -> Iterator[Iterator[Step]]:
    """The same steps, displayed on `console` as they pass."""
    report = Report()
    if not console.is_terminal:
        yield _plainly(steps, report, console, max(1, episodes // 10))
        return
    columns = (
        TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[right]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield _live(steps, report, progress, episodes)


def _plainly(steps: Iterable[Step], report: Report, console: Console, every: int) -> Iterator[Step]:
    for step in steps:
        if step.status == "finished":
            line = report.line(step)
            if line:
                console.print(line, highlight=False, soft_wrap=True)
            elif step.node == "judge" and step.episode % every == 0:
                console.print(
                    f"episode {step.episode:>4}  right {report.right} of {report.judged} in training", highlight=False
                )
        yield step


def _live(steps: Iterable[Step], report: Report, progress: Progress, episodes: int) -> Iterator[Step]:
    task = progress.add_task("starting", total=episodes, right="")
    for step in steps:
        if step.status == "started":
            progress.update(task, description=f"episode {step.episode} {step.node}", completed=max(step.episode - 1, 0))
        elif line := report.line(step):
            progress.console.print(line, highlight=False)
            progress.update(task, completed=step.episode)
        elif step.node == "judge":
            progress.update(task, right=f"right {report.right}/{report.judged}  held-out {report.heldout}")
        yield step
