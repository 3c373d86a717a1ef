"""The demo models' files: where they lie, and the proof that they are whole.

`manifest.json` holds the SHA-256 of every file; `verified` refuses a folder with a damaged or missing one by name.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from rl_distillation.errors import UserError

FOLDER = Path(__file__).with_name("weights")
MANIFEST = "manifest.json"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_manifest(folder: Path = FOLDER) -> None:
    """Record the SHA-256 of every file below `folder`."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    hashes = {p.relative_to(folder).as_posix(): sha256(p) for p in found}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")


@cache
def verified(name: str, folder: Path = FOLDER) -> Path:
    """The folder of the demo model `name` ("teacher" or "student"), after every one of its files was checked.

    Raises UserError when a file is missing or differs from the manifest.
    """
    hashes: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for relative, expected in hashes.items():
        path = folder / relative
        if not relative.startswith(f"{name}/"):
            continue
        if not path.is_file():
            raise UserError(f"{path}: missing; reinstall rl-distillation to get the demo models back")
        if sha256(path) != expected:
            raise UserError(f"{path}: damaged (its SHA-256 is not the manifest's); reinstall rl-distillation")
    return folder / name
