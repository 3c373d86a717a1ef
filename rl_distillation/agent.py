"""The public class: a teacher, a student, and the loop between them, in three calls."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from rl_distillation.checkpoints.folder import RunFolder, free_name
from rl_distillation.config import Config
from rl_distillation.errors import UserError
from rl_distillation.export import export_student
from rl_distillation.graph.run import Run, new_run, open_run
from rl_distillation.metrics import Result


class DistillationAgent:
    """Distils a teacher into a student.

    `teacher_model`: an OpenAI model's name, `openai:NAME`, `hf:PATH_OR_REPO`, `demo`, or any LangChain chat model.
    `student_model`: a folder with a Hugging Face model and tokenizer, a hub id, or `demo`.
    `reward_threshold`: the score (0 to 1) from which an answer is right.
    `questions`: a JSONL, CSV or TXT file, an iterable of questions, or a generator; without it the teacher writes them.
    `config`: a Config, or the path of a YAML file, for everything else. Runs are kept in the folder `runs_dir`.

    Raises UserError, whose message is one plain line, for whatever the caller can mend.

        agent = DistillationAgent(teacher_model="demo", student_model="demo")
        result = agent.train(num_episodes=20, questions_per_episode=48)
        agent.save_student("./models/distilled")
    """

    def __init__(
        self,
        teacher_model: str | BaseChatModel | None = None,
        student_model: str | Path | None = None,
        reward_threshold: float | None = None,
        *,
        questions: str | Path | Iterable[Any] | None = None,
        config: Config | str | Path | None = None,
        runs_dir: str | Path = "runs",
    ) -> None:
        base = Config.load(config) if isinstance(config, (str, Path)) else config or Config()
        self._teacher = teacher_model if isinstance(teacher_model, BaseChatModel) else None
        self._questions, self._runs = questions, Path(runs_dir)
        self.config = _changed(
            base,
            teacher={"model_name": teacher_model if isinstance(teacher_model, str) else None},
            student={"model_path": str(student_model) if student_model is not None else None},
            training={"reward_threshold": reward_threshold},
        )
        self._run: str | None = None
        self._trained: Run | None = None

    def train(
        self, num_episodes: int | None = None, questions_per_episode: int | None = None, *, name: str | None = None
    ) -> Result:
        """Start a run and drive it to its end; returns its metrics. `name` is the run's folder under `runs_dir`."""
        sizes = {"num_episodes": num_episodes, "questions_per_episode": questions_per_episode}
        config = _changed(self.config, training=sizes)
        name = name or free_name(self._runs, "run")
        with new_run(self._runs, name, config, teacher=self._teacher, questions=self._questions) as run:
            return self._drive(run)

    def resume(self, name: str) -> Result:
        """Drive a run that was paused or killed on to its end; returns the metrics of the whole run."""
        with open_run(self._runs, name, teacher=self._teacher, questions=self._questions) as run:
            return self._drive(run)

    def _drive(self, run: Run) -> Result:
        self._run = run.folder.name
        for _ in run.steps():
            pass
        return run.result()

    def save_student(self, path: str | Path, merged: bool = False) -> Path:
        """Write the student of the last run as a PEFT adapter, or with `merged` as a standalone model.

        Raises UserError when nothing was trained yet.
        """
        if self._run is None:
            raise UserError("save_student: nothing was trained yet; call train or resume first")
        return export_student(RunFolder(self._runs, self._run), path, merged)


def _changed(config: Config, **sections: dict[str, Any]) -> Config:
    """A copy of the config with the given settings that are not None, validated."""
    data = config.model_dump()
    for section, settings in sections.items():
        data[section].update({key: value for key, value in settings.items() if value is not None})
    return Config.parse(data)
