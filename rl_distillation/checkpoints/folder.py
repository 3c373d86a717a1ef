"""A run is one folder; nothing of it lives elsewhere. Copy it, archive it, delete it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rl_distillation.config import Config
from rl_distillation.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class RunFolder:
    """The paths of one run. Raises UserError for a name that is none."""

    def __init__(self, runs: Path | str, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UserError(f"run name {name!r}: use letters, digits, dots, dashes and underscores, up to 100")
        self.name, self.path = name, Path(runs) / name
        self.config = self.path / "config.yaml"
        self.ledger = self.path / "ledger.db"
        self.checkpoints = self.path / "checkpoints.db"
        self.adapters = self.path / "adapters"
        self.questions = self.path / "questions.jsonl"
        self._driver, self._pause = self.path / "driver", self.path / "pause"

    def lock(self) -> FileLock:
        """The right to drive this run, taken. Raises UserError when another process has it."""
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
            self._driver.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            self._pause.unlink(missing_ok=True)
        except Timeout:
            who = self._driver.read_text(encoding="utf-8") if self._driver.exists() else "another process"
            raise UserError(
                f"{self.path}: {who} is driving this run; wait for it, or stop it with: rl-distill pause {self.name}"
            ) from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
        return lock

    def driven(self) -> bool:
        """Whether some process, this one included, is driving the run."""
        lock = FileLock(self.path / "lock")
        try:
            with lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def request_pause(self) -> None:
        """Ask whoever drives the run to pause it at the next safe point."""
        self._pause.touch()

    def pause_requested(self) -> bool:
        """Whether somebody asked for a pause since the run was opened."""
        return self._pause.exists()

    def create(self, config: Config) -> None:
        """Make the folder with its config. Raises UserError when the run exists or the folder cannot be made."""
        temporary = self.path.with_name(f".{self.name}.tmp")  # a run with half a config must never be seen
        try:
            if self.path.exists():
                raise UserError(f"{self.path}: exists already; choose another --name")
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            (temporary / self.config.name).write_text(config.to_yaml(), encoding="utf-8")
            temporary.rename(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None

    def load_config(self) -> Config:
        """The run's config. Raises UserError when there is no such run."""
        if not self.config.is_file():
            raise UserError(f"{self.path}: no such run; `rl-distill runs` lists them")
        return Config.load(self.config)

    def remove(self) -> None:
        """Delete the run."""
        shutil.rmtree(self.path, ignore_errors=True)

    def write_questions(self, questions: Iterable[dict[str, Any]]) -> None:
        """Keep the run's questions, one JSON object a line."""
        text = "".join(
            json.dumps({"question": q["text"], "gold": q["gold"], "topic": q["topic"]}, ensure_ascii=False) + "\n"
            for q in questions
        )
        temporary = self.questions.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(self.questions)

    def read_questions(self) -> list[dict[str, Any]]:
        """The questions that were kept."""
        return [json.loads(line) for line in self.questions.read_text(encoding="utf-8").split("\n") if line]


def free_name(runs: Path | str, stem: str) -> str:
    """`stem-1`, or the first number whose run does not exist yet."""
    number = 1
    while (Path(runs) / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"
