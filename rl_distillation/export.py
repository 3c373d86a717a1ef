"""Takes the trained student out of a run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.errors import UserError
from rl_distillation.models.student import Student


def load_student(folder: RunFolder) -> Student:
    """The student of a run as it stands. Raises UserError when the run has no weights yet."""
    config = folder.load_config()
    with closing(Ledger(folder.ledger, read_only=True)) as ledger:
        snapshot = ledger.facts().get("snapshot")
    if not snapshot:
        raise UserError(f"{folder.path}: has no trained weights yet; resume it first")
    student = Student(config.student, config.training.seed)
    student.load(folder.adapters / snapshot)
    return student


def export_student(folder: RunFolder, path: str | Path, merged: bool) -> Path:
    """Write the student of a run to `path`, as a PEFT adapter or, merged, as a standalone model.

    Raises UserError when the run has no weights or `path` cannot be written.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists and is not an empty folder; choose another place")
    student = load_student(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        student.export(path, merged)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
    return path
