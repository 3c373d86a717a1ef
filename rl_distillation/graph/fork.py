"""Time travel: what a run can return to, and a new run that branches off there.

A fork is a run of its own: the graph's state, the adapter and the ledger up to the chosen episode are copied, the old
run is only read. Replies are copied whole, so what was paid for once is not paid for again.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.checkpoints.saver import PruningSaver
from rl_distillation.checkpoints.snapshots import Snapshots
from rl_distillation.config import Config
from rl_distillation.demo.weights import sha256
from rl_distillation.errors import UserError
from rl_distillation.graph.build import build_graph
from rl_distillation.graph.history import History, Point
from rl_distillation.models.student import ADAPTER


def points_of(runs: Path | str, name: str) -> list[Point]:
    """The points of a run, oldest first. Raises UserError when there is no such run."""
    folder = RunFolder(runs, name)
    config = folder.load_config()
    with closing(PruningSaver(folder.checkpoints)) as saver:
        return History(saver, Snapshots(folder.adapters), name, config.checkpoint).points


def fork_run(runs: Path | str, name: str, at: int, new: str, changes: list[str]) -> RunFolder:
    """Make the run `new` from `name` as it was after episode `at`, with settings changed ("section.name=value").

    Raises UserError when the episode cannot be returned to, the new run exists or a change is no setting.
    """
    source, target = RunFolder(runs, name), RunFolder(runs, new)
    config = _changed(source.load_config(), changes)
    points = {point.episode: point for point in points_of(runs, name)}
    if at not in points:
        raise UserError(
            f"{name}: cannot be returned to episode {at}; it can to {', '.join(map(str, points)) or 'none'}"
        )
    with target.staged() as staging:
        staging.config.write_text(config.to_yaml(), encoding="utf-8")
        _copy(source, staging, points[at], config)
    return target


def _copy(source: RunFolder, target: RunFolder, point: Point, config: Config) -> None:
    shutil.copytree(source.adapters / point.snapshot, target.adapters / point.snapshot)
    if source.questions.exists():
        shutil.copy(source.questions, target.questions)
    for old, new in ((source.ledger, target.ledger), (source.checkpoints, target.checkpoints)):
        with closing(sqlite3.connect(old)) as one, closing(sqlite3.connect(new)) as other:
            one.backup(other)
    with closing(Ledger(target.ledger)) as ledger:
        ledger.branch_off(point.episode)
        ledger.set_facts(
            status="paused",
            forked_from=f"{source.name} at episode {point.episode}",
            snapshot=point.snapshot,
            adapter_sha256=sha256(target.adapters / point.snapshot / ADAPTER),
        )
    with closing(PruningSaver(target.checkpoints)) as saver:
        saver.copy_thread(source.name, target.name)
        saver.prune([source.name], strategy="delete")
        saver.rewind(target.name, point.checkpoint)
        saver.drop_between(target.name, "", point.checkpoint)
        graph = build_graph().compile(checkpointer=saver)
        thread: Any = {"configurable": {"thread_id": target.name}}
        # The fork has one snapshot, which is its best so far; and the new config says where it ends.
        graph.update_state(
            thread,
            {"best": point.snapshot, "last": point.episode >= config.training.num_episodes},
            as_node="evaluate",
        )


def _changed(config: Config, changes: list[str]) -> Config:
    data = config.model_dump()
    for change in changes:
        path, equals, value = change.partition("=")
        section, dot, key = path.strip().partition(".")
        if not equals or not dot or section not in data:
            raise UserError(f"--set {change}: write section.name=value, such as student.learning_rate=0.001")
        try:
            data[section][key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--set {change}: the value is not valid YAML; quote it") from None
    return Config.parse(data, "--set")
