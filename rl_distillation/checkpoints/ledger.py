"""The ledger: everything a run has asked, answered, judged and measured, in one SQLite file made for people and tools.

Tables (keys in brackets): `run` [key] facts about the run; `episodes` [episode]; `samples` [episode, position], one
row a question; `evaluations` [episode]; `heldout` [position]; `replies` [key], every reply a model was asked for;
`timings` [episode, node]. The view `episode_summary` joins them for people.

Rows are upserts under those keys, so a node that runs again after a crash writes the same rows and none twice. Replies
are committed one by one as they arrive: their number is the number of calls made, over all processes of the run.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database, Migrations

from rl_distillation.errors import UserError

KEYS: dict[str, Any] = {
    "run": "key",
    "episodes": "episode",
    "samples": ("episode", "position"),
    "evaluations": "episode",
    "heldout": "position",
    "replies": "key",
    "timings": ("episode", "node"),
}
"""The primary key of every table."""

migrations = Migrations("rl_distillation")


@migrations()
def first_tables(db: Database) -> None:
    """Version 1."""
    db.table("run").create({"key": str, "value": str}, pk="key")
    db.table("episodes").create(
        {
            "episode": int, "questions": int, "correct": int, "wrong": int, "no_verdict": int, "reward": float,
            "baseline": float, "reward_loss": float, "teach_loss": float, "snapshot": str,
        },
        pk="episode",
    )  # fmt: skip
    db.table("samples").create(
        {
            "episode": int, "position": int, "topic": str, "question": str, "gold": str, "teacher": str,
            "student": str, "correct": int, "score": float, "stage": str, "reason": str, "reward": float,
        },
        pk=KEYS["samples"],
    )  # fmt: skip
    db.table("evaluations").create(
        {
            "episode": int, "questions": int, "correct": int, "no_verdict": int, "accuracy": float, "low": float,
            "high": float, "kl_to_base": float,
        },
        pk="episode",
    )  # fmt: skip
    db.table("heldout").create(
        {
            "position": int,
            "question": str,
            "reference": str,
            "topic": str,
            "gold": str,
            "teacher": str,
            "teacher_correct": int,
        },
        pk="position",
    )
    db.table("replies").create(
        {
            "key": str,
            "role": str,
            "model": str,
            "episode": int,
            "reply": str,
            "tokens_in": int,
            "tokens_out": int,
            "inherited": int,
        },
        pk="key",
    )
    db.table("timings").create({"episode": int, "node": str, "seconds": float}, pk=KEYS["timings"])
    db.create_view(
        "episode_summary",
        """
        select e.episode, e.questions, e.correct, e.wrong, e.no_verdict,
               round(1.0 * e.correct / nullif(e.correct + e.wrong, 0), 3) as accuracy,
               round(e.reward, 3) as reward,
               round(sum(e.reward) over (order by e.episode), 3) as cumulative_reward,
               round(e.teach_loss, 4) as teach_loss, round(e.baseline, 3) as baseline,
               round(v.accuracy, 3) as heldout_accuracy, round(v.low, 3) as heldout_low,
               round(v.high, 3) as heldout_high,
               (select round(sum(t.seconds), 2) from timings t where t.episode = e.episode) as seconds
        from episodes e left join evaluations v on v.episode = e.episode
        order by e.episode
        """,
    )


class Ledger:
    """A run's ledger, safe to use from several threads of one process.

    Raises UserError when the file is no ledger of this project.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        try:
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=30)
            self.db = Database(connection)
            if not read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")  # what was paid for survives a power cut too
                self._check(connection)
                migrations.apply(self.db)
            connection.execute("SELECT 1 FROM run LIMIT 1")
        except sqlite3.Error as error:
            raise UserError(
                f"{path}: cannot be opened as a ledger ({error}); restore it from a copy of the run"
            ) from None
        self._lock = threading.RLock()

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse a file that is damaged, or that a later version wrote, before anything is changed in it."""
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise UserError(f"{self.path}: damaged ({verdict}); restore it from a copy of the run")
        if self.db[Migrations.migrations_table].exists():
            known = {migration.name for migration in migrations._migrations}
            applied = {row["name"] for row in self.db[Migrations.migrations_table].rows}
            if applied - known:
                raise UserError(
                    f"{self.path}: written by a later version of rl-distillation; upgrade it to open this run"
                )

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[Database]:
        """All of it or nothing."""
        with self._lock, self.db.atomic():
            yield self.db

    def upsert(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows under their table's key, replacing the columns given."""
        with self.transaction() as db:
            db.table(table).upsert_all(rows, pk=KEYS[table])

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query as dictionaries."""
        with self._lock:
            return list(self.db.query(sql, parameters))

    def value(self, sql: str, *parameters: Any) -> Any:
        """The first column of a query's first row, or None."""
        with self._lock:
            row = self.db.execute(sql, parameters).fetchone()
        return row[0] if row else None

    def facts(self) -> dict[str, str]:
        """The table `run` as a dictionary."""
        return {row["key"]: row["value"] for row in self.rows("select key, value from run")}

    def set_facts(self, **facts: Any) -> None:
        """Write facts about the run."""
        self.upsert("run", [{"key": k, "value": None if v is None else str(v)} for k, v in facts.items()])

    def branch_off(self, episode: int) -> None:
        """Make this copy of a ledger that of a new run: later episodes and closing figures go. Later replies stay, for
        they were paid for, but they are inherited and not calls of this run."""
        with self.transaction() as db:
            for table in ("episodes", "samples", "evaluations", "timings"):
                db.table(table).delete_where("episode > ?", [episode])
            db.execute("update replies set inherited = 1 where episode > ?", [episode])
            kept = (
                "teacher",
                "student",
                "teacher_parameters",
                "student_parameters",
                "true_references",
                "question_source",
            )
            db.table("run").delete_where(f"key not in ({', '.join('?' * len(kept))})", kept)

    def reply(self, key: str) -> str | None:
        """The stored reply to a call, or None when that call was never answered."""
        return self.value("select reply from replies where key = ?", key)

    def add_reply(self, key: str, **columns: Any) -> None:
        """Store one reply; what was paid for is on disk when this returns."""
        self.upsert("replies", [{"key": key, **columns}])
