"""Kills runs at random moments and checks that nothing was lost: `python benchmarks/crash.py --kills 100 --seed 0`.

A short demo run is made once without interruption. Then runs of the same seed are driven in real processes that are
sent SIGKILL at random moments and resumed, until the asked number of kills has been spent. Every finished run must have
the reference's adapter (SHA-256), ledger rows and metrics. The teacher counts its calls in a file, from outside the
ledger, so that calls paid for twice would show; at most one batch may be in flight at a kill.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TABLES = {
    "samples": "episode, position",
    "episodes": "episode",
    "evaluations": "episode",
    "heldout": "position",
    "replies": "key",
}
VOLATILE = ("run", "wall_s", "seconds_per_node")


def drive(runs: Path, name: str, seed: int, every: int, counter: Path) -> None:
    """Start or go on with a run in this process, with a teacher that counts its calls in `counter`."""
    from rl_distillation.demo.config import demo_config
    from rl_distillation.graph.run import new_run, open_run
    from rl_distillation.models.local import LocalChatModel

    answer = LocalChatModel._answer

    def counting(self: Any, chats: Any, **options: Any) -> Any:
        with counter.open("a") as file:
            file.write("x" * len(chats))
        return answer(self, chats, **options)

    LocalChatModel._answer = counting  # type: ignore[method-assign]
    config = demo_config(seed, 6)
    config.training.questions_per_episode, config.training.batch_size, config.training.updates_per_episode = 16, 16, 4
    config.evaluation.every, config.checkpoint.every = 3, every
    started = (runs / name).exists()
    with open_run(runs, name) if started else new_run(runs, name, config) as run:
        print("driving", flush=True)
        for _ in run.steps():
            pass
        print(json.dumps(run.result().to_json()), flush=True)


def process(runs: Path, name: str, options: argparse.Namespace, counter: Path) -> subprocess.Popen[str]:
    """A process of this file that drives a run."""
    arguments = ["--drive", str(runs), name, str(counter), "--seed", str(options.seed), "--every", str(options.every)]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def contents(runs: Path, name: str) -> dict[str, Any]:
    """Every row of the ledger that must be the same."""
    with sqlite3.connect(runs / name / "ledger.db") as db:
        return {
            table: db.execute(f"select * from {table} order by {keys}").fetchall() for table, keys in TABLES.items()
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="checkpoint.every: episodes between snapshots")
    parser.add_argument("--drive", nargs=3, metavar=("RUNS", "NAME", "COUNTER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        runs, name, counter = options.drive
        drive(Path(runs), name, options.seed, options.every, Path(counter))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), options)


def compare(runs: Path, options: argparse.Namespace) -> int:
    """Run the benchmark below `runs`; the exit code is 0 when every run was identical."""
    draw = random.Random(options.seed)
    counter = runs / "reference.calls"
    began = time.monotonic()
    reference_process = process(runs, "reference", options, counter)
    out, errors = reference_process.communicate()
    whole = time.monotonic() - began
    assert reference_process.returncode == 0, errors
    reference, rows = json.loads(out.splitlines()[-1]), contents(runs, "reference")
    calls = counter.stat().st_size
    print(f"reference: {whole:.1f} s, {calls} calls, adapter {reference['adapter_sha256'][:12]}", flush=True)
    kills = extra = finished = different = 0
    while kills < options.kills:
        name = f"run-{finished}"
        counter = runs / f"{name}.calls"
        while True:
            child = process(runs, name, options, counter)
            assert child.stdout is not None
            child.stdout.readline()  # wait for the models to load: a kill before that proves nothing
            if kills < options.kills:
                try:
                    child.wait(draw.uniform(0, whole / 3))
                except subprocess.TimeoutExpired:
                    child.send_signal(signal.SIGKILL)
                    kills += 1
            out, errors = child.communicate()
            if child.returncode == 0:
                break
            assert child.returncode == -signal.SIGKILL, errors
        result = json.loads(out.splitlines()[-1])
        same = contents(runs, name) == rows and all(
            result[key] == value for key, value in reference.items() if key not in VOLATILE
        )
        finished, different = finished + 1, different + (not same)
        extra += counter.stat().st_size - calls
        print(f"{name}: kills so far {kills}, identical {'yes' if same else 'NO'}", flush=True)
    print(
        f"kills {kills}  runs {finished}  identical {'yes' if not different else f'NO ({different} differ)'}  "
        f"extra calls {extra} ({extra / kills:.2f} a kill)"
    )
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
