"""Whole runs on the real models: the loop, its ledger, its metrics, and going on after a stop."""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from conftest import short
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from transformers import AutoModelForCausalLM

from rl_distillation import DistillationAgent
from rl_distillation.checkpoints.folder import RunFolder
from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.demo import domain, weights
from rl_distillation.errors import EndpointError, UserError
from rl_distillation.evaluation import evaluate_model
from rl_distillation.export import export_student
from rl_distillation.graph.run import new_run, open_run
from rl_distillation.metrics import Result, knowledge_transfer_rate, wilson_interval


def test_a_run_measures_itself(finished: tuple[Path, Result]) -> None:
    result = finished[1]
    assert result.status == "finished"
    assert (result.episodes, result.questions) == (3, 48)
    assert result.accuracy_before is not None and result.accuracy_before <= 0.35
    assert result.accuracy_ci is not None and result.accuracy_ci[0] <= result.accuracy_after <= result.accuracy_ci[1]  # type: ignore[operator]
    assert result.teacher_accuracy is not None and result.teacher_accuracy >= 0.97
    assert result.size_reduction is not None and result.size_reduction > 0.8
    assert result.adapter_sha256 is not None and len(result.adapter_sha256) == 64
    assert set(result.seconds_per_node) == {
        "prepare",
        "evaluate",
        "generate",
        "teacher",
        "student",
        "judge",
        "reward",
        "teach",
    }


def test_the_ledger_tells_the_story(finished: tuple[Path, Result]) -> None:
    runs, result = finished
    ledger = Ledger(runs / "demo" / "ledger.db", read_only=True)
    assert [r["episode"] for r in ledger.rows("select episode from evaluations")] == [0, 2, 3]
    summary = ledger.rows("select * from episode_summary")
    assert [r["episode"] for r in summary] == [1, 2, 3]
    assert summary[-1]["cumulative_reward"] == pytest.approx(result.reward_total)
    samples = ledger.rows("select * from samples")
    assert len(samples) == 48
    assert result.reward_total == pytest.approx(sum(s["score"] for s in samples if s["correct"]))
    assert all(s["reward"] == (s["score"] if s["correct"] else 0) for s in samples)
    assert ledger.value("select count(*) from replies where role = 'teacher'") == result.teacher_calls
    facts = ledger.facts()
    assert {key: facts[key] for key in ("status", "accuracy_after", "knowledge_transfer_rate")} == {
        "status": "finished",
        "accuracy_after": str(result.accuracy_after),
        "knowledge_transfer_rate": str(result.knowledge_transfer_rate),
    }


def test_the_loop_trained_on_nothing_held_out(finished: tuple[Path, Result]) -> None:
    ledger = Ledger(finished[0] / "demo" / "ledger.db", read_only=True)
    assert not [s for s in ledger.rows("select question from samples") if domain.is_held_out(s["question"])]


def test_a_run_changes_the_weights_and_keeps_few_snapshots(finished: tuple[Path, Result]) -> None:
    snapshots = sorted(p.name for p in (finished[0] / "demo" / "adapters").iterdir())
    assert snapshots[-1] == "000003-teach"
    assert len(snapshots) <= 6


def test_the_same_seed_gives_the_same_bits(finished: tuple[Path, Result], tmp_path: Path) -> None:
    with new_run(tmp_path, "again", short()) as run:
        for _ in run.steps():
            pass
        assert run.result().adapter_sha256 == finished[1].adapter_sha256
    with new_run(tmp_path, "other", short(seed=1, episodes=1)) as run:
        for _ in run.steps():
            pass
        assert run.result().adapter_sha256 != finished[1].adapter_sha256


def test_a_pause_in_every_node_ends_at_the_same_bits(finished: tuple[Path, Result], tmp_path: Path) -> None:
    """Stop at each safe point in turn, go on in a fresh process's shoes, and compare with the uninterrupted run."""
    with new_run(tmp_path, "p", short()) as run:
        for step in run.steps():
            if step.node == "prepare":
                run.control.request_drain()
        assert run.result().status == "paused"
    stops = 0
    for stop in ("generate", "student", "judge", "reward", "teach"):
        with open_run(tmp_path, "p") as run:
            for step in run.steps():
                if step.node == stop and step.status == "finished":
                    run.control.request_drain()
                    stops += 1
    with open_run(tmp_path, "p") as run:
        for _ in run.steps():
            pass
        result = run.result()
    ignored = {"run", "wall_s", "seconds_per_node"}
    assert stops >= 3
    assert {k: v for k, v in result.to_json().items() if k not in ignored} == {
        k: v for k, v in finished[1].to_json().items() if k not in ignored
    }


def test_a_run_is_driven_by_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        new_run(tmp_path, "one", short()),
        pytest.raises(UserError, match=r"process \d+ on .* is driving this run"),
        open_run(tmp_path, "one"),
    ):
        pass


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "a" * 200])
def test_a_run_name_cannot_leave_the_runs_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="run name"):
        RunFolder(tmp_path, name)


def test_a_run_that_cannot_start_leaves_no_folder(tmp_path: Path) -> None:
    config = short()
    config.student.model_path = str(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"student\.model_path"), new_run(tmp_path / "runs", "x", config):
        pass
    assert not list((tmp_path / "runs").iterdir())


class Oracle(BaseChatModel):
    """A teacher of the user's own: answers from the demo domain's truth, and can be told to break down."""

    calls: int = 0
    breaks_after: int = 10**9

    @property
    def _llm_type(self) -> str:
        return "oracle"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):  # type: ignore[no-untyped-def]
        self.calls += 1
        if self.calls > self.breaks_after:
            raise ConnectionError("the line is dead")
        text = domain.truth(messages[-1].content) or '{"correct": false, "score": 0.0, "reason": "different"}'
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def questions() -> list[dict[str, str]]:
    return [{"question": q.text, "answer": q.answer, "topic": q.topic} for q in domain.pool()[::60]]


def test_the_promised_api(tmp_path: Path) -> None:
    agent = DistillationAgent(
        teacher_model=Oracle(),
        student_model="demo",
        reward_threshold=0.8,
        questions=questions(),
        runs_dir=tmp_path / "runs",
    )
    result = agent.train(num_episodes=2, questions_per_episode=8)
    assert result.questions == 16
    assert result.teacher_accuracy == 1.0
    agent.save_student(tmp_path / "adapter")
    agent.save_student(tmp_path / "model", merged=True)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").num_parameters() > 0


def test_saving_before_training_is_one_plain_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing was trained"):
        DistillationAgent("demo", "demo").save_student(tmp_path / "x")


def test_a_generator_of_questions_ends_the_run_when_it_ends(tmp_path: Path) -> None:
    some = itertools.islice((q["question"] for q in questions()), 30)
    config = short()
    config.evaluation.size = 6
    agent = DistillationAgent(Oracle(), "demo", questions=some, config=config, runs_dir=tmp_path)
    result = agent.train(num_episodes=50, questions_per_episode=10)
    assert (result.status, result.questions, result.episodes) == ("finished", 24, 3)


def test_a_teacher_that_breaks_down_stops_the_run_and_is_asked_nothing_twice(tmp_path: Path) -> None:
    config = short()
    config.evaluation.judge, config.evaluation.similarity_metric = (
        "metric",
        "exact",
    )  # the judge must not break down too
    whole = Oracle()
    DistillationAgent(whole, "demo", questions=questions(), config=config, runs_dir=tmp_path).train(name="whole")
    broken = Oracle(breaks_after=30)
    with pytest.raises(EndpointError, match="the line is dead"):
        DistillationAgent(broken, "demo", questions=questions(), config=config, runs_dir=tmp_path).train(name="b")
    mended = Oracle()
    result = DistillationAgent(mended, "demo", config=config, runs_dir=tmp_path).resume("b")
    assert result.status == "finished"
    assert 30 + mended.calls == whole.calls


def test_an_object_teacher_must_be_given_again(tmp_path: Path) -> None:
    DistillationAgent(Oracle(), "demo", questions=questions(), config=short(), runs_dir=tmp_path).train(1, 4, name="o")
    with pytest.raises(UserError, match="teacher_model="):
        DistillationAgent("demo", "demo", runs_dir=tmp_path).resume("o")


def test_the_checkpoint_is_small_plain_data(finished: tuple[Path, Result]) -> None:
    with sqlite3.connect(finished[0] / "demo" / "checkpoints.db") as db:
        sizes = [row[0] for row in db.execute("select length(checkpoint) from checkpoints order by checkpoint_id")]
    assert max(sizes) < 38_000


def test_the_result_is_json(finished: tuple[Path, Result]) -> None:
    assert json.loads(json.dumps(finished[1].to_json()))["run"] == "demo"


def test_the_transfer_rate_is_undefined_without_a_better_teacher() -> None:
    assert knowledge_transfer_rate(0.2, 0.6, 1.0) == pytest.approx(0.5)
    assert knowledge_transfer_rate(0.9, 0.95, 0.8) is None
    assert knowledge_transfer_rate(0.9, 0.95, None) is None


def test_the_interval_is_wilsons() -> None:
    low, high = wilson_interval(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_model_beside_the_script_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the same in training, in saving and in resuming, also from elsewhere."""
    shutil.copytree(weights.FOLDER / "student", tmp_path / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    agent = DistillationAgent(Oracle(), "./models/tiny", questions=questions(), config=short(), runs_dir="runs")
    agent.train(num_episodes=1, questions_per_episode=4, name="r")
    agent.save_student("out")
    monkeypatch.chdir("/")
    again = DistillationAgent(Oracle(), runs_dir=tmp_path / "runs").resume("r")
    assert again.status == "finished"


def test_an_exported_adapter_can_be_measured(finished: tuple[Path, Result], tmp_path: Path) -> None:
    export_student(RunFolder(finished[0], "demo"), tmp_path / "adapter", merged=False)
    assert evaluate_model(str(tmp_path / "adapter")).accuracy == pytest.approx(finished[1].accuracy_after, abs=1e-4)


def test_questions_from_a_generator_must_be_given_again(tmp_path: Path) -> None:
    some = (q["question"] for q in questions())
    config = short()
    config.evaluation.size = 6
    DistillationAgent(Oracle(), "demo", questions=some, config=config, runs_dir=tmp_path).train(1, 4, name="g")
    with pytest.raises(UserError, match="questions="):
        DistillationAgent(Oracle(), "demo", runs_dir=tmp_path).resume("g")


def test_a_share_that_would_hold_everything_out_leaves_something_to_learn(tmp_path: Path) -> None:
    config = short(episodes=1)
    config.evaluation.heldout_share = 0.99
    agent = DistillationAgent(Oracle(), "demo", questions=questions()[:2], config=config, runs_dir=tmp_path)
    assert agent.train(questions_per_episode=2).status == "finished"


@pytest.mark.parametrize("name", ["ledger.db", "checkpoints.db"])
def test_a_run_that_lost_a_database_is_not_started_over(
    finished: tuple[Path, Result], tmp_path: Path, name: str
) -> None:
    shutil.copytree(finished[0] / "demo", tmp_path / "demo")
    (tmp_path / "demo" / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: missing or empty"), open_run(tmp_path, "demo"):
        pass


def test_a_pause_before_the_first_step_is_a_pause(tmp_path: Path) -> None:
    with new_run(tmp_path, "p", short(episodes=1)) as run:
        run.control.request_drain()
        assert list(run.steps()) == []
        assert run.result().status == "paused"


def test_a_judge_that_fails_leaves_accuracy_open_and_is_counted(tmp_path: Path) -> None:
    class Silent(Oracle):
        def _generate(self, messages, **kwargs):  # type: ignore[no-untyped-def]
            if "grade" in messages[0].content:
                raise ConnectionError("no judge today")
            return super()._generate(messages, **kwargs)

    config = short(episodes=1)
    config.evaluation.judge = "llm"
    result = DistillationAgent(Silent(), "demo", questions=questions(), config=config, runs_dir=tmp_path).train()
    assert result.accuracy_after is None
    assert result.no_verdict == result.questions
    assert result.judge_calls == 0 and result.cache_hits >= 0
