"""Shared fixtures: real tiny models, real stores, one short real run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rl_distillation.config import Config
from rl_distillation.demo.config import demo_config
from rl_distillation.graph.run import new_run
from rl_distillation.metrics import Result


def short(seed: int = 0, episodes: int = 3) -> Config:
    """The demo, small enough for a test."""
    config = demo_config(seed, episodes)
    config.training.questions_per_episode = 16
    config.training.batch_size = 16
    config.training.updates_per_episode = 3
    config.evaluation.every = 2
    return config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The runs folder and the result of a short demo run called `demo`."""
    runs = tmp_path_factory.mktemp("runs")
    with new_run(runs, "demo", short()) as run:
        for _ in run.steps():
            pass
        return runs, run.result()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a file into the test's folder."""

    def write_(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_
