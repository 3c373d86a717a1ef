"""The demo over several seeds, as the README's table: `python benchmarks/seeds.py [SEED …]`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile


def row(seed: int) -> str:
    """One run of the demo as a row of the table."""
    with tempfile.TemporaryDirectory() as runs:
        command = ["rl_distillation", "demo", "--seed", str(seed), "--json", "--runs-dir", runs]
        done = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, check=True)
    r = json.loads(done.stdout)
    low, high = r["accuracy_ci"]
    return (
        f"| {seed} | {r['accuracy_before']:.1%} | {r['accuracy_after']:.1%} | {low:.1%} to {high:.1%} | "
        f"{r['teacher_accuracy']:.1%} | {r['judge_accuracy']:.1%} | {r['knowledge_transfer_rate']:.1%} | "
        f"{r['teacher_calls']} | {r['wall_s']:.0f} |"
    )


if __name__ == "__main__":
    print("| seed | held-out before | after | 95 % interval | teacher | judge | gap closed | teacher calls | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for number in map(int, sys.argv[1:] or "01234"):
        print(row(number), flush=True)
