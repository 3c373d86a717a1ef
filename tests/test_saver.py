"""The saver: LangGraph's own conformance suite, and going back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate

from rl_distillation.checkpoints.saver import PruningSaver
from rl_distillation.errors import UserError


def test_it_conforms_in_every_capability(tmp_path: Path) -> None:
    count = iter(range(10**6))

    @checkpointer_test(name="PruningSaver")
    async def saver() -> AsyncGenerator[PruningSaver, None]:
        made = PruningSaver(tmp_path / f"{next(count)}.db")
        yield made
        made.close()

    report = asyncio.run(validate(saver))
    failures = {
        str(name): result.failures for name, result in report.results.items() if result.detected and not result.passed
    }
    assert not failures
    assert all(result.detected for result in report.results.values())


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    path.write_bytes(b"not a database, certainly not one of SQLite's" * 100)
    with pytest.raises(UserError, match=r"checkpoints\.db: cannot be opened"):
        PruningSaver(path)
