"""Adapter snapshots: the student's learned weights and its optimizer, whole or not at all.

A snapshot is a folder named after the update that made it. It is written beside its place, synced to disk and renamed
in, so a crash leaves either the whole snapshot or an orphan with a temporary name, which the next start sweeps.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".tmp-"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Snapshots:
    """The snapshots below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, snapshot: str) -> Path:
        """Where a snapshot lies."""
        return self.folder / snapshot

    def write(self, snapshot: str, save: Callable[[Path], None]) -> str:
        """Let `save` fill a folder and put it in place under the name `snapshot`, which is returned."""
        temporary, final = self.folder / f"{TEMPORARY}{snapshot}", self.path(snapshot)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        save(temporary)
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        shutil.rmtree(final, ignore_errors=True)  # left by a process that was killed before its commit
        temporary.rename(final)
        _sync(self.folder)
        return snapshot

    def sweep(self, keep: set[str]) -> None:
        """Delete every snapshot but those to keep, and all orphans."""
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)

    def names(self) -> list[str]:
        """The snapshots there are, oldest first."""
        return sorted(p.name for p in self.folder.iterdir() if p.is_dir() and not p.name.startswith(TEMPORARY))
