"""What a run can return to: points, which are the ends of episodes whose weights are on disk.

At a point the graph's checkpoint and the adapter snapshot that it names are both kept, so a resumed run can start
there and a fork can branch off there. Between points, only what lies after the newest one is kept. So the storage does
not grow with the number of episodes, but for one point in `checkpoint.keep_every`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from rl_distillation.checkpoints.saver import PruningSaver
from rl_distillation.checkpoints.snapshots import Snapshots
from rl_distillation.config import CheckpointConfig

PATH = "branch:to:"
"""How LangGraph marks in a checkpoint which node comes next."""


@dataclass(frozen=True)
class Point:
    """The end of an episode: its checkpoint's id, its snapshot, and the last held-out accuracy measured by then."""

    episode: int
    checkpoint: str
    snapshot: str
    accuracy: float | None


class History:
    """The points of one run. `thread` is LangGraph's name for it."""

    def __init__(self, saver: PruningSaver, snapshots: Snapshots, thread: str, config: CheckpointConfig) -> None:
        self._saver, self._snapshots, self._thread, self._config = saver, snapshots, thread, config
        self.points = [*self._read()][::-1]
        """Oldest first."""

    def _checkpoints(self) -> Iterator[CheckpointTuple]:
        return self._saver.list({"configurable": {"thread_id": self._thread}})

    def _read(self) -> Iterator[Point]:
        """The points on disk, newest first."""
        seen = set()
        for item in self._checkpoints():
            values = item.checkpoint["channel_values"]
            ends = {key for key in values if key.startswith(PATH)} <= {PATH + "generate"}
            if ends and self._on_disk(values) and values["episode"] not in seen:
                seen.add(values["episode"])
                yield _point(item.config, values)

    def _on_disk(self, values: dict[str, Any]) -> bool:
        return bool(values.get("snapshot")) and self._snapshots.path(values["snapshot"]).is_dir()

    def rewind(self) -> None:
        """Go back to the newest checkpoint whose weights are on disk, if the newest of all has lost its own, and sweep
        what a killed process left half written."""
        self._snapshots.sweep(set(self._snapshots.names()))
        for item in self._checkpoints():
            values = item.checkpoint["channel_values"]
            if not values.get("snapshot") or self._on_disk(values):
                self._saver.rewind(self._thread, item.config["configurable"]["checkpoint_id"])
                return

    def add(self, config: Any, state: dict[str, Any]) -> None:
        """Enter the point where an episode has just ended, and forget what need not be kept any more."""
        if not self._on_disk(state):
            return
        point = _point(config, state)
        if self.points and self.points[-1].episode >= point.episode:
            return
        before = self.points[-1].checkpoint if self.points else ""
        self._saver.drop_between(self._thread, before, point.checkpoint)
        self.points.append(point)
        recent = self.points[-self._config.keep :]
        kept = [
            p
            for p in self.points
            if p in recent or p.snapshot == state["best"] or (p.episode and p.episode % self._config.keep_every == 0)
        ]
        self._saver.drop(self._thread, [p.checkpoint for p in self.points if p not in kept])
        self.points = kept
        self._snapshots.sweep({p.snapshot for p in kept})


def _point(config: Any, values: dict[str, Any]) -> Point:
    evaluation = values.get("evaluation") or {}
    accuracy = evaluation.get("accuracy") if evaluation.get("episode") == values["episode"] else None
    return Point(values["episode"], config["configurable"]["checkpoint_id"], values["snapshot"], accuracy)
