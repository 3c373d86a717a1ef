"""LangGraph's SQLite saver, bounded: it can forget, go back, and be used from async code.

`SqliteSaver` keeps a full snapshot of the state for every superstep for ever. This one can drop what a run no longer
needs, and can be put back to an earlier checkpoint. Only plain data is read back (strict msgpack, no pickle).
Checkpoint ids are time-ordered, so "older than" is a comparison of ids.

State in a `DeltaChannel`, which spreads one value over several checkpoints, must not be pruned with this; our graph
has none.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from rl_distillation.errors import UserError

TABLES = ("checkpoints", "writes")


class PruningSaver(SqliteSaver):
    """A saver over one SQLite file. Raises UserError when the file is no checkpoint database."""

    def __init__(self, path: Path | str) -> None:
        try:
            connection = sqlite3.connect(path, check_same_thread=False, timeout=30)
            super().__init__(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            self.setup()
            connection.execute("PRAGMA synchronous=FULL")  # the commit point of a run survives a power cut too
        except sqlite3.Error as error:
            raise UserError(
                f"{path}: cannot be opened as a checkpoint database ({error}); restore it from a copy of the run"
            ) from None

    def close(self) -> None:
        self.conn.close()

    def list(self, *args: Any, **kwargs: Any) -> Iterator[CheckpointTuple]:
        """As the base class, but read to the end first: the base holds its lock while the caller iterates."""
        return iter([*super().list(*args, **kwargs)])

    def drop(self, thread_id: str, ids: Sequence[str]) -> None:
        """Delete single checkpoints of the root graph with their writes."""
        with self.cursor() as cursor:
            for table in TABLES:
                cursor.executemany(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id = ?", [(thread_id, i) for i in ids]
                )

    def drop_between(self, thread_id: str, older: str, newer: str) -> None:
        """Delete every checkpoint strictly between two."""
        with self.cursor() as cursor:
            for table in TABLES:
                cursor.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id > ? AND checkpoint_id < ?",
                    (thread_id, older, newer),
                )

    def rewind(self, thread_id: str, checkpoint_id: str) -> None:
        """Make this checkpoint the latest again, with nothing done after it."""
        with self.cursor() as cursor:
            for table, newer in zip(TABLES, (">", ">="), strict=True):
                cursor.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id {newer} ?", (thread_id, checkpoint_id)
                )

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep each namespace's latest checkpoint, or with strategy "delete" nothing.

        Raises ValueError for any other strategy.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown strategy {strategy!r}; use 'keep_latest' or 'delete'")
        latest = (
            "SELECT max(checkpoint_id) FROM checkpoints c "
            "WHERE c.thread_id = {0}.thread_id AND c.checkpoint_ns = {0}.checkpoint_ns"
        )
        kept = f"AND checkpoint_id < ({latest})" if strategy == "keep_latest" else ""
        with self.cursor() as cursor:
            for table in reversed(TABLES):
                cursor.executemany(
                    f"DELETE FROM {table} WHERE thread_id = ? {kept.format(table)}", [(i,) for i in thread_ids]
                )

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that the given LangGraph invocations made."""
        with self.cursor() as cursor:
            for run_id in run_ids:
                rows = cursor.execute(
                    "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints "
                    "WHERE json_extract(metadata, '$.run_id') = ?",
                    (run_id,),
                ).fetchall()
                for table in TABLES:
                    cursor.executemany(
                        f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?", rows
                    )

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy every checkpoint and write of one thread to another."""
        with self.cursor() as cursor:
            for table in TABLES:
                columns = [row[1] for row in cursor.execute(f"PRAGMA table_info({table})").fetchall()]
                others = ", ".join(c for c in columns if c != "thread_id")
                cursor.execute(
                    f"INSERT OR REPLACE INTO {table} (thread_id, {others}) "
                    f"SELECT ?, {others} FROM {table} WHERE thread_id = ?",
                    (target_thread_id, source_thread_id),
                )

    async def aget_tuple(self, *args: Any, **kwargs: Any) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, *args, **kwargs)

    async def alist(self, *args: Any, **kwargs: Any) -> AsyncIterator[CheckpointTuple]:
        for item in await asyncio.to_thread(self.list, *args, **kwargs):
            yield item

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(self.put, *args, **kwargs)

    async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self.put_writes, *args, **kwargs)

    async def adelete_thread(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self.delete_thread, *args, **kwargs)

    async def adelete_for_runs(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self.delete_for_runs, *args, **kwargs)

    async def acopy_thread(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self.copy_thread, *args, **kwargs)

    async def aprune(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self.prune, *args, **kwargs)
