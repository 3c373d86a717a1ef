"""Nothing lost, nothing paid twice, the same bits: killed runs, sparse snapshots, forks, locks and damage."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import short

from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.errors import UserError
from rl_distillation.graph.fork import fork_run, points_of
from rl_distillation.graph.run import new_run, open_run
from rl_distillation.metrics import Result, summarise
from rl_distillation.models.student import ADAPTER

VOLATILE = {"run", "wall_s", "seconds_per_node"}
TABLES = {"samples": "episode, position", "episodes": "episode", "evaluations": "episode", "replies": "key"}


def finish(runs: Path, name: str) -> Result:
    with open_run(runs, name) as run:
        for _ in run.steps():
            pass
        return run.result()


def assert_same(runs: Path, name: str, finished: tuple[Path, Result]) -> None:
    """The adapter, the metrics and the ledger are those of the uninterrupted run."""
    whole, result = finished
    ours, theirs = (Ledger(path / "ledger.db", read_only=True) for path in (runs / name, whole / "demo"))
    for table, keys in TABLES.items():
        query = f"select * from {table} order by {keys}"
        assert ours.rows(query) == theirs.rows(query), table
    got = summarise(name, ours).to_json()
    assert {k: v for k, v in got.items() if k not in VOLATILE} == {
        k: v for k, v in result.to_json().items() if k not in VOLATILE
    }


SLOW = [
    pytest.param(moment, marks=pytest.mark.slow)
    for moment in ("prepare 0", "evaluate 0", "generate 0", "teacher 1", "judge 2", "evaluate 3")
]


@pytest.mark.parametrize("moment", ["reward 2", "teach 2", *SLOW])
def test_a_kill_in_any_node_changes_nothing(finished: tuple[Path, Result], tmp_path: Path, moment: str) -> None:
    """SIGKILL lands a moment after the node has started; a real process, the real models."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from conftest import short\nfrom rl_distillation.graph.run import new_run\n"
        "with new_run(sys.argv[1], 'k', short()) as run:\n"
        "    for step in run.steps(): print(step.node, step.episode, step.status, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"{moment} started"):
                time.sleep(0.03)
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    finish(tmp_path, "k")
    assert_same(tmp_path, "k", finished)


def test_sparse_snapshots_are_replayed_to_the_same_bits(tmp_path: Path) -> None:
    """With a snapshot every third episode, weights that were lost are made again from the last one."""
    adapters, calls = [], []
    for name, every in (("dense", 1), ("sparse", 3)):
        config = short(episodes=4)
        config.evaluation.every, config.checkpoint.every = 4, every
        with new_run(tmp_path, name, config) as run:
            for step in run.steps():
                if name == "sparse" and step.node == "teach" and step.episode == 2:
                    break  # as good as a crash: nothing is committed on the way out
            else:
                adapters, calls = [run.result().adapter_sha256], [run.result().teacher_calls]
    snapshots = [p.name for p in (tmp_path / "sparse" / "adapters").iterdir()]
    assert snapshots == ["000000-start"]
    result = finish(tmp_path, "sparse")
    assert [result.adapter_sha256] == adapters
    assert [result.teacher_calls] == calls


def cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rl_distillation", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)


def started(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    """A run in a process of its own that has passed its first evaluation."""
    command = [sys.executable, "-m", "rl_distillation", "demo", "--episodes", "40", "--name", "long", *arguments]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "held-out" not in (line := process.stderr.readline()):
        assert line or process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_pauses_at_a_safe_point_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "rl-distill resume long" in errors and "Traceback" not in errors
    assert json.loads(cli("show", "long", "--json", cwd=tmp_path).stdout)["status"] == "paused"


def test_a_second_signal_stops_at_once_and_the_run_can_still_be_resumed(tmp_path: Path) -> None:
    process = started(tmp_path)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors and "rl-distill resume long" in errors
    with open_run(tmp_path / "runs", "long") as run:
        assert next(iter(run.steps())).status == "started"


def test_another_terminal_can_pause_a_run_but_not_drive_it(tmp_path: Path) -> None:
    process = started(tmp_path)
    second = cli("resume", "long", cwd=tmp_path)
    assert second.returncode == 2
    assert f"process {process.pid} on " in second.stderr and len(second.stderr.strip().splitlines()) == 1
    assert "pauses after" in cli("pause", "long", cwd=tmp_path).stdout
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert "is not running" in cli("pause", "long", cwd=tmp_path).stdout


def test_history_lists_points_whose_weights_are_there(finished: tuple[Path, Result]) -> None:
    runs = finished[0]
    points = points_of(runs, "demo")
    assert [p.episode for p in points][-1] == 3
    assert all((runs / "demo" / "adapters" / p.snapshot / ADAPTER).exists() for p in points)


def test_a_fork_goes_on_from_there_and_leaves_the_old_run_alone(finished: tuple[Path, Result], tmp_path: Path) -> None:
    """Forked without changes it ends at the same bits; with changes elsewhere; with more episodes, later."""
    runs = finished[0]

    def fingerprint() -> dict[str, Any]:
        with sqlite3.connect(runs / "demo" / "checkpoints.db") as db:
            ids = db.execute("select thread_id, checkpoint_id from checkpoints order by 2").fetchall()
        return {"ids": ids, "adapters": sorted(p.name for p in (runs / "demo" / "adapters").iterdir())}

    before = fingerprint()
    at = points_of(runs, "demo")[-2].episode
    fork_run(runs, "demo", at, "same", [])
    assert finish(runs, "same").adapter_sha256 == finished[1].adapter_sha256
    fork_run(runs, "demo", at, "changed", ["student.learning_rate=0.0001"])
    assert finish(runs, "changed").adapter_sha256 != finished[1].adapter_sha256
    fork_run(runs, "demo", 3, "longer", ["training.num_episodes=4"])
    assert finish(runs, "longer").episodes == 4
    assert fingerprint() == before


@pytest.mark.parametrize(
    ("at", "changes", "message"),
    [
        (77, [], "cannot be returned to episode 77; it can to"),
        (3, ["learning_rate=1"], "write section.name=value"),
        (3, ["student.learning_rat=1"], "did you mean learning_rate"),
        (3, ["student.learning_rate=7"], "student.learning_rate: 7"),
    ],
)
def test_an_impossible_fork_is_one_plain_line(
    finished: tuple[Path, Result], at: int, changes: list[str], message: str
) -> None:
    with pytest.raises(UserError) as error:
        fork_run(finished[0], "demo", at, "nope", changes)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (finished[0] / "nope").exists()


@pytest.fixture
def paused(tmp_path: Path) -> Path:
    """The runs folder of a run called `p`, paused after its first episode."""
    with new_run(tmp_path, "p", short(episodes=2)) as run:
        for step in run.steps():
            if step.node == "generate" and step.episode == 1 and step.status == "finished":
                run.control.request_drain()
    return tmp_path


@pytest.mark.parametrize("name", ["ledger.db", "checkpoints.db"])
def test_a_corrupted_database_is_named_and_left_alone(paused: Path, name: str) -> None:
    file = paused / "p" / name
    data = bytearray(file.read_bytes())
    data[: len(data) // 2] = os.urandom(len(data) // 2)
    file.write_bytes(data)
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
        finish(paused, "p")
    assert "restore it from a copy" in str(error.value)
    assert file.read_bytes() == data


def test_a_truncated_snapshot_is_named_with_the_mend(paused: Path) -> None:
    for file in (paused / "p" / "adapters").rglob(ADAPTER):
        file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match=r"adapters/000000-start: .* damaged .*fork"):
        finish(paused, "p")


def test_a_ledger_of_a_later_version_is_refused(paused: Path) -> None:
    with sqlite3.connect(paused / "p" / "ledger.db") as db:
        db.execute("update _sqlite_migrations set name = 'from_the_future'")
    with pytest.raises(UserError, match=r"ledger\.db: written by a later version"):
        finish(paused, "p")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"runs/x: cannot be written"):
        RunFolder(tmp_path / "runs", "x").create(short())


def test_storage_does_not_grow_with_the_episodes(tmp_path: Path) -> None:
    sizes = {}
    for episodes in (4, 9):
        config = short(episodes=episodes)
        config.evaluation.every = 9
        config.training.questions_per_episode = config.training.batch_size = 4
        config.training.updates_per_episode, config.checkpoint.keep = 1, 2
        with new_run(tmp_path, f"e{episodes}", config) as run:
            for _ in run.steps():
                pass
        with sqlite3.connect(tmp_path / f"e{episodes}" / "checkpoints.db") as db:
            sizes[episodes] = db.execute("select count(*) from checkpoints").fetchone()[0]
        assert len(list((tmp_path / f"e{episodes}" / "adapters").iterdir())) <= 4
    assert sizes[9] <= sizes[4] + 1


def test_a_full_disk_is_one_plain_line_and_costs_nothing(finished: tuple[Path, Result], tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk's end; the run goes on when there is room again."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "from conftest import short\nfrom rl_distillation.errors import StorageError\n"
        "from rl_distillation.graph.run import new_run\n"
        "with new_run(sys.argv[1], 'f', short()) as run:\n"
        "    try:\n"
        "        for step in run.steps():\n"
        "            if step.node == 'teach': resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "    except StorageError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "cannot be written" in done.stdout and "rl-distill resume f" in done.stdout, done.stderr
    finish(tmp_path, "f")
    assert_same(tmp_path, "f", finished)
