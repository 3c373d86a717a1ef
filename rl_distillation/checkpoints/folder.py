"""A run is one folder; nothing of it lives elsewhere. Copy it, archive it, delete it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
        self.name = name
        self._place(Path(runs) / name)

    def _place(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.ledger = path / "ledger.db"
        self.checkpoints = path / "checkpoints.db"
        self.adapters = path / "adapters"
        self.questions = path / "questions.jsonl"
        self._driver, self._pause = path / "driver", path / "pause"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the right to drive this run. Raises UserError when another process has it."""
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0.3, poll_interval=0.05)  # somebody may just be asking whether it is driven
            self._driver.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            self._pause.unlink(missing_ok=True)
        except Timeout:
            who = self._driver.read_text(encoding="utf-8") if self._driver.exists() else "another process"
            raise UserError(
                f"{self.path}: {who} is driving this run; wait for it, or stop it with: rl-distill pause {self.name}"
            ) from None
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            yield
        finally:
            lock.release(force=True)

    def check(self) -> None:
        """Refuse a run that has lost one of its databases: starting over would sweep away what is left of it.

        Raises UserError naming the file.
        """
        if not self.adapters.is_dir() or not any(self.adapters.iterdir()):
            return  # nothing was committed yet
        for file in (self.ledger, self.checkpoints):
            if not file.is_file() or not file.stat().st_size:
                raise UserError(f"{file}: missing or empty; restore it from a copy of the run")

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

    @contextmanager
    def staged(self) -> Iterator[RunFolder]:
        """A folder beside this one to be filled, which then becomes this one: a half-made run is never seen.

        Raises UserError when the run exists or the folder cannot be made.
        """
        if self.path.exists():
            raise UserError(f"{self.path}: exists already; choose another --name")
        staging = RunFolder(self.path.parent, self.name)
        staging._place(self.path.with_name(f".{self.name}.tmp"))
        try:
            staging.remove()
            staging.path.mkdir(parents=True)
            yield staging
            staging.path.rename(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
        finally:
            staging.remove()

    def create(self, config: Config) -> None:
        """Make the folder with its config. Raises UserError when the run exists or the folder cannot be made."""
        with self.staged() as staging:
            staging.config.write_text(config.to_yaml(), encoding="utf-8")

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
