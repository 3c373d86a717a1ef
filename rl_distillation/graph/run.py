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
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.config import Config
from rl_distillation.demo.weights import sha256
from rl_distillation.errors import UserError
from rl_distillation.graph.build import build_graph
from rl_distillation.graph.context import Context
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
    seconds: float = 0.0
    changes: dict[str, Any] | None = None
    """What the node changed in the state, once finished."""


class Run:
    """A run opened for driving: it holds the lock, the models and the stores until it is closed."""

    def __init__(self, folder: RunFolder, config: Config, context: Context) -> None:
        self.folder, self.config, self.context = folder, config, context
        self.control = RunControl()

    @property
    def ledger(self) -> Ledger:
        """The run's ledger."""
        return self.context.ledger

    def steps(self) -> Iterator[Step]:
        """Drive the run to its end, or until `control` asks it to stop at the next safe point."""
        with closing(sqlite3.connect(self.folder.checkpoints, check_same_thread=False, timeout=30)) as connection:
            saver = SqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
            graph = build_graph().compile(checkpointer=saver)
            limit = STEPS_PER_EPISODE * self.config.training.num_episodes + 10
            config: Any = {"configurable": {"thread_id": self.folder.name}, "recursion_limit": limit}
            earlier = float(self.ledger.facts().get("wall_s") or 0)
            started = time.perf_counter()
            before = graph.get_state(config)
            first = (
                None
                if before.created_at
                else initial_state(self.config.training.num_episodes, self.config.evaluation.every)
            )
            self.ledger.set_facts(status="running")
            try:
                if first or before.next:
                    stream = graph.stream(
                        first,
                        config,
                        context=self.context,
                        stream_mode="custom",
                        durability="sync",
                        control=self.control,
                    )
                    for event in stream:
                        step = Step(**event)
                        if step.node == "generate" and step.status == "started":
                            self._sweep(cast(State, graph.get_state(config).values))
                        yield step
            except GraphDrained:
                pass
            finally:
                after = graph.get_state(config)
                self._record(cast(State, after.values), earlier + time.perf_counter() - started, bool(after.next))

    def _sweep(self, state: State) -> None:
        """Drop snapshots that no committed state needs; called when one was just committed."""
        recent = self.context.snapshots.names()[-self.config.checkpoint.keep :]
        self.context.snapshots.sweep({*recent, state["snapshot"], state["best"]})

    def _record(self, state: State, wall: float, unfinished: bool) -> None:
        """Enter how the run stands in the ledger, so that anyone can read it without the graph."""
        adapter = self.context.snapshots.path(state["snapshot"]) / ADAPTER if state.get("snapshot") else None
        self.ledger.set_facts(
            status="paused" if unfinished else "finished",
            wall_s=wall,
            asked=json.dumps(state.get("asked", {})),
            snapshot=state.get("snapshot"),
            best=state.get("best"),
            adapter_sha256=sha256(adapter) if adapter and adapter.exists() else None,
        )

    def result(self) -> Result:
        """The run's metrics so far."""
        return summarise(self.folder.name, self.ledger)


@contextmanager
def new_run(
    runs: Path | str, name: str, config: Config, *, teacher: BaseChatModel | None = None, questions: Any = None
) -> Iterator[Run]:
    """Make a run and open it. A run that never got as far as its first evaluation leaves no folder when the user has
    something to mend.

    Raises UserError when the run exists or something in the config cannot be had.
    """
    folder, config = RunFolder(runs, name), resolve(config, teacher)
    folder.create(config)
    try:
        with _opened(folder, config, teacher, questions) as run:
            yield run
    except UserError:
        with closing(Ledger(folder.ledger)) as ledger:
            begun = ledger.value("select count(*) from evaluations")
        if not begun:
            folder.remove()
        raise


@contextmanager
def open_run(
    runs: Path | str, name: str, *, teacher: BaseChatModel | None = None, questions: Any = None
) -> Iterator[Run]:
    """Open an existing run to drive it on. Raises UserError when there is none or another process drives it."""
    folder = RunFolder(runs, name)
    with _opened(folder, folder.load_config(), teacher, questions) as run:
        yield run


@contextmanager
def _opened(folder: RunFolder, config: Config, teacher: BaseChatModel | None, questions: Any) -> Iterator[Run]:
    with folder.lock(), closing(Ledger(folder.ledger)) as ledger:
        yield Run(folder, config, build_context(folder, config, ledger, teacher, questions))
