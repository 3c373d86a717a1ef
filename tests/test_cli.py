"""The command line as a user meets it: real processes, real exit codes, one plain line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_distillation.demo import domain
from rl_distillation.metrics import Result

KEYS = {
    "run", "episodes", "questions", "accuracy_before", "accuracy_after", "accuracy_ci", "teacher_accuracy",
    "reward_total", "knowledge_transfer_rate", "size_reduction", "teacher_calls", "cache_hits", "wall_s",
    "adapter_sha256",
}  # fmt: skip


def rl_distill(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"} | environment
    command = [sys.executable, "-m", "rl_distillation", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=200, check=False)


def test_demo_ends_with_one_json_object_and_its_run_can_be_used(tmp_path: Path) -> None:
    done = rl_distill("demo", "--episodes", "1", "--json", "--name", "d", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result) >= KEYS
    assert "held-out" in done.stderr and "\x1b" not in done.stderr
    assert json.loads(rl_distill("show", "d", "--json", cwd=tmp_path).stdout) == result
    listed = rl_distill("runs", cwd=tmp_path).stdout
    assert "d" in listed and "finished" in listed
    exported = rl_distill("export", "d", "out", "--merged", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    measured = [json.loads(rl_distill("eval", what, "--json", cwd=tmp_path).stdout) for what in ("d", "out")]
    assert [m["accuracy"] for m in measured] == [pytest.approx(result["accuracy_after"], abs=1e-4)] * 2


def test_a_dataset_of_ones_own_with_the_demo_teacher(tmp_path: Path) -> None:
    rows = [{"question": q.text, "answer": q.answer} for q in domain.pool()[::70]]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.yaml").write_text(
        "training: {num_episodes: 2, questions_per_episode: 8, batch_size: 8, updates_per_episode: 2}\n"
        "questions: {path: mine.jsonl}\n"
    )
    done = rl_distill("run", "mine.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["run"], result["questions"]) == ("mine-1", 16)
    assert result["teacher_accuracy"] > 0.9


def test_init_writes_a_config_that_runs(tmp_path: Path) -> None:
    assert rl_distill("init", cwd=tmp_path).returncode == 0
    again = rl_distill("init", cwd=tmp_path)
    assert again.returncode == 2 and "config.yaml: exists already" in again.stderr
    text = (tmp_path / "config.yaml").read_text().replace("num_episodes: 50", "num_episodes: 1")
    (tmp_path / "config.yaml").write_text(text)
    done = rl_distill("run", "config.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("training: {reward_threshold: 1.8}", "config.yaml: training.reward_threshold: 1.8 is not between 0 and 1"),
        ("teacher: {model_name: gpt-4}", "teacher.api_key: the environment variable OPENAI_API_KEY is not set"),
        ("teacher: {model_name: 'gemini:x'}", "teacher.model_name: 'gemini:x' names no model"),
        ("student: {model_path: ./none}", "none: no such folder; name a model folder, a hub id or demo"),
        ("questions: {path: none.jsonl}", "none.jsonl: cannot be read (No such file or directory)"),
        ("questions: {path: empty.txt}", "empty.txt: holds no questions"),
        ("evaluation: {similarity_metric: rouge}", "evaluation.similarity_metric: 'rouge' is not one of"),
    ],
)
def test_a_users_mistake_is_one_line_and_leaves_nothing(tmp_path: Path, config: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "empty.txt").touch()
    done = rl_distill("run", "config.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "none.yaml"), "none.yaml: cannot be read"),
        (("show", "none"), "no such run"),
        (("resume", "none"), "no such run"),
        (("export", "none", "out"), "no such run"),
        (("eval", "./none"), "no such folder"),
        (("eval", "none"), "no such run in runs"),
        (("show", "../../etc"), "run name"),
        (("demo", "--seed", "x"), "Invalid value"),
    ],
)
def test_a_wrong_argument_is_plain_too(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = rl_distill(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_help_needs_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "langgraph", "textual")
    code = f"import sys, rl_distillation.cli; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_command_has_help_with_an_example(tmp_path: Path) -> None:
    for command in ("demo", "run", "resume", "runs", "show", "export", "eval", "init"):
        shown = rl_distill(command, "--help", cwd=tmp_path).stdout
        assert "Example" in shown and "rl-distill" in shown


def test_a_run_of_the_same_name_is_not_overwritten(finished: tuple[Path, Result]) -> None:
    runs = finished[0]
    done = rl_distill("demo", "--name", "demo", "--runs-dir", str(runs), cwd=runs)
    assert done.returncode == 2 and "exists already" in done.stderr
    assert (runs / "demo" / "ledger.db").exists()
