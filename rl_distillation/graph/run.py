"""Drives a run through the state machine and says what happens, step by step.

The graph's checkpoint is the commit point: it is written to `checkpoints.db` before the next node starts. A run that
was killed goes on from there.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.language_models import BaseChatModel
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import StateSnapshot

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.checkpoints.saver import PruningSaver
from rl_distillation.config import Config
from rl_distillation.demo.weights import sha256
from rl_distillation.errors import StorageError
from rl_distillation.graph.build import build_graph
from rl_distillation.graph.context import Context
from rl_distillation.graph.history import History
from rl_distillation.graph.setup import build_context, resolve
from rl_distillation.graph.state import State, initial_state
from rl_distillation.metrics import Result, summarise
from rl_distillation.models.student import ADAPTER

STEPS_PER_EPISODE = 8
"""More supersteps than any episode takes; LangGraph wants a limit."""


@dataclass(frozen=True)
class Step:
    """One node starting or finishing."""

    node: str
    episode: int
    status: Literal["started", "finished"]
    changes: dict[str, Any]
    """What the node changed in the state; empty while it runs."""


class _Reader:
    """Turns LangGraph's task events into steps."""

    def __init__(self) -> None:
        self._episode = 0

    def step(self, task: dict[str, Any]) -> Step:
        changes = dict(task.get("result") or {})
        self._episode = changes.get("episode", task.get("input", {}).get("episode", self._episode))
        return Step(task["name"], self._episode, "started" if "input" in task else "finished", changes)


class Run:
    """A run opened for driving: it holds the lock, the models and the stores until it is closed."""

    def __init__(self, folder: RunFolder, config: Config, context: Context) -> None:
        self.folder, self.config, self.context = folder, config, context
        self.control = RunControl()
        self._earlier, self._started = 0.0, time.perf_counter()

    @property
    def ledger(self) -> Ledger:
        """The run's ledger."""
        return self.context.ledger

    def steps(self) -> Iterator[Step]:
        """Drive the run to its end, or until `control` asks it to stop at the next safe point.

        A run that was stopped goes on from its last commit whose weights are on disk. Raises StorageError when the
        disk fails; what was committed until then is whole.
        """
        try:
            yield from self._steps()
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            again = f"rl-distill resume {self.folder.name}"
            raise StorageError(f"{self.folder.path}: cannot be written ({reason}); mend that, then: {again}") from error

    def _steps(self) -> Iterator[Step]:
        with closing(PruningSaver(self.folder.checkpoints)) as saver:
            graph = build_graph().compile(checkpointer=saver)
            history = History(saver, self.context.snapshots, self.folder.name, self.config.checkpoint)
            history.rewind()
            limit = STEPS_PER_EPISODE * self.config.training.num_episodes + 10
            config: Any = {"configurable": {"thread_id": self.folder.name}, "recursion_limit": limit}
            self._earlier, self._started = float(self.ledger.facts().get("wall_s") or 0), time.perf_counter()
            before, reader = graph.get_state(config), _Reader()
            first = None if before.created_at else initial_state()
            self.ledger.set_facts(status="running")
            try:
                if first or before.next:
                    # Mode "tasks" keeps the nodes in this thread. "custom" would move them to a pool, and torch's
                    # OpenMP is 1.7 times slower once two threads of a process have used it.
                    for task in graph.stream(
                        first,
                        config,
                        context=self.context,
                        stream_mode="tasks",
                        durability="sync",
                        control=self.control,
                    ):
                        step = reader.step(cast(Any, task))
                        if step.node == "generate" and step.status == "started":
                            self._mark(history, graph.get_state(config))
                        if self.folder.pause_requested():
                            self.control.request_drain()
                        yield step
            except GraphDrained:
                if snapshot := graph.get_state(config).values.get("snapshot"):  # none when nothing has happened yet
                    self.context.keep(snapshot)
            finally:
                after = graph.get_state(config)
                if after.created_at and not after.next:
                    self._mark(history, after)
                self._record(cast(State, after.values), "paused" if after.next or not after.created_at else "finished")

    def _mark(self, history: History, state: StateSnapshot) -> None:
        """An episode has ended: it can be returned to from now on, and anyone can read how the run stands."""
        history.add(state.config, cast(Any, state.values))
        self._record(cast(State, state.values), "running")

    def _record(self, state: State, status: str) -> None:
        """Enter how the run stands in the ledger, so that it can be read without the graph, even after a crash."""
        snapshot = state.get("snapshot")
        adapter = self.context.snapshots.path(snapshot) / ADAPTER if snapshot else None
        facts = {"status": status, "wall_s": self._earlier + time.perf_counter() - self._started}
        facts["asked"] = json.dumps(state.get("asked", {}))
        if adapter and adapter.exists():  # with sparse snapshots the weights may be in memory alone
            facts |= {"snapshot": snapshot, "adapter_sha256": sha256(adapter)}
        self.ledger.set_facts(**facts)
        if status != "running":
            metrics = self.result().to_json()
            self.ledger.set_facts(
                **{k: json.dumps(v) if isinstance(v, (dict, tuple)) else v for k, v in metrics.items()}
            )

    def result(self) -> Result:
        """The run's metrics so far."""
        return summarise(self.folder.name, self.ledger)


@contextmanager
def new_run(
    runs: Path | str, name: str, config: Config, *, teacher: BaseChatModel | None = None, questions: Any = None
) -> Iterator[Run]:
    """Make a run and open it. A run that failed before anything was paid for or measured leaves no folder.

    Raises UserError when the run exists or something in the config cannot be had.
    """
    folder, config = RunFolder(runs, name), resolve(config, teacher)
    folder.create(config)
    try:
        with _opened(folder, config, teacher, questions) as run:
            yield run
    except BaseException:
        with closing(Ledger(folder.ledger)) as ledger:
            begun = ledger.value("select (select count(*) from evaluations) + (select count(*) from replies)")
        if not begun:
            folder.remove()
        raise


@contextmanager
def open_run(
    runs: Path | str, name: str, *, teacher: BaseChatModel | None = None, questions: Any = None
) -> Iterator[Run]:
    """Open an existing run to drive it on. Raises UserError when there is none or another process drives it."""
    folder = RunFolder(runs, name)
    folder.check()
    with _opened(folder, folder.load_config(), teacher, questions) as run:
        yield run


@contextmanager
def _opened(folder: RunFolder, config: Config, teacher: BaseChatModel | None, questions: Any) -> Iterator[Run]:
    with folder.lock(), closing(Ledger(folder.ledger)) as ledger:
        yield Run(folder, config, build_context(folder, config, ledger, teacher, questions))
