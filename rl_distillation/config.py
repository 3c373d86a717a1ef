"""A run's configuration: pydantic models, read from YAML, written back resolved and without secrets.

Every field's docstring is its documentation: `rl-distill init` writes it as a comment above the field, and an error
names the field, the value and what would be right, in one line.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_serializer

from rl_distillation.errors import UserError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _no_numeric_text(value: Any) -> Any:
    """A model may be named by a number; YAML would hand it over as one."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_no_numeric_text), Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, validate_assignment=True, protected_namespaces=()
    )


class TeacherConfig(_Section):
    """The large model that knows the answers."""

    model_name: Text = "demo"
    """`demo`, `openai:NAME` (or just NAME), or `hf:PATH_OR_REPO` for a local Hugging Face model."""
    api_key: SecretStr | None = None
    """Write `${OPENAI_API_KEY}`: the key is read from the environment and never written to a file."""
    base_url: str | None = None
    """Address of an OpenAI-compatible server; empty means OpenAI's own. May hold `${NAME}`, like the key."""
    temperature: float = Field(0.0, ge=0, le=2)
    """Sampling temperature of its answers; 0 takes the most likely one."""
    max_tokens: int = Field(256, ge=1, le=32768)
    """The longest answer, in tokens."""
    system_prompt: str | None = "Answer the question as briefly as you can. Give only the answer."
    """What the teacher is told before every question."""
    concurrency: int = Field(8, ge=1, le=256)
    """How many calls to an API may be under way at once."""
    timeout: float = Field(60.0, gt=0)
    """Seconds before one call is given up."""

    @field_serializer("api_key", when_used="json")
    def _hide(self, key: SecretStr | None) -> str | None:
        """A reference to the environment may be written down, a literal key never."""
        return key.get_secret_value() if key and _VARIABLE.fullmatch(key.get_secret_value()) else None


class StudentConfig(_Section):
    """The small model that learns, through LoRA adapters over frozen weights."""

    model_path: Text = "demo"
    """`demo`, a folder with a Hugging Face model and its tokenizer, or a hub id."""
    learning_rate: float | None = Field(None, gt=0, le=1)
    """Peak learning rate of the LoRA weights; empty takes 2e-3 for a model of less than 10 million parameters, else
    2e-4, about ten times what full fine-tuning would use."""
    lora_r: int = Field(16, ge=1, le=1024)
    """Rank of the adapters, which sit on every linear layer."""
    lora_alpha: int = Field(32, ge=1)
    """Scale of the adapters."""
    max_new_tokens: int = Field(64, ge=1, le=4096)
    """The longest answer, in tokens."""
    temperature: float = Field(1.0, gt=0, le=2)
    """Sampling temperature of its answers while it learns; evaluation is always greedy."""
    system_prompt: str | None = None
    """What the student is told before every question, in training as in evaluation."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it runs; `auto` takes CUDA, then MPS, then the CPU."""
    trust_remote_code: bool = False
    """Whether a model folder may bring Python code of its own. Leave it off."""


class TrainingConfig(_Section):
    """How long, how much at a time, and what counts as right."""

    num_episodes: int = Field(50, ge=1)
    """How many episodes; each asks, judges, rewards and teaches one batch of questions."""
    questions_per_episode: int = Field(32, ge=1, le=4096)
    """Questions in an episode."""
    batch_size: int = Field(32, ge=2, le=4096)
    """Examples in one weight update; never 1, so that no update follows a single example."""
    updates_per_episode: int = Field(8, ge=1, le=1000)
    """Corrective updates after an episode's wrong answers."""
    replay_share: float = Field(0.5, ge=0, le=0.95)
    """Part of every corrective batch that repeats earlier questions, against forgetting."""
    replay_size: int = Field(5000, ge=1)
    """How many of the latest questions are kept for replay."""
    reward_threshold: float = Field(0.8, ge=0, le=1)
    """The score from which an answer is right and rewarded; below it the answer is taught."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Everything random follows from it."""


class EvaluationConfig(_Section):
    """How answers are compared, and how progress is measured."""

    similarity_metric: Literal["semantic", "exact", "bleu"] = "semantic"
    """How an answer is scored against the reference: embedding cosine, normalised equality, or BLEU."""
    judge: Literal["cascade", "llm", "metric"] = "cascade"
    """`cascade` asks the cheapest judge that is sure; `llm` asks the judge model alone; `metric` the metric alone."""
    judge_model: Text | None = None
    """The judge model, named like the teacher; empty means the teacher judges."""
    embedding_model: Text | None = "auto"
    """Model for `semantic`: `offline` (from the extra of that name), a folder, or a hub id; `auto` takes `offline`
    where it is installed, else all-MiniLM-L6-v2 from the hub; empty does without."""
    every: int = Field(10, ge=1)
    """Episodes between evaluations; there is always one before the first episode and one after the last."""
    size: int = Field(200, ge=1)
    """The most held-out questions an evaluation asks."""
    heldout_share: float = Field(0.1, gt=0, lt=1)
    """Part of a dataset kept out of training for evaluation."""


class QuestionsConfig(_Section):
    """Where the questions come from."""

    path: Text | None = None
    """A JSONL, CSV or TXT file; empty means that the teacher writes the questions."""
    topics: list[Text] = Field(
        default_factory=lambda: ["geography", "nature", "language", "numbers", "everyday life", "history"], min_length=1
    )
    """What the teacher writes questions about."""
    per_call: int = Field(4, ge=1, le=50)
    """Questions asked of the teacher in one call."""


class CheckpointConfig(_Section):
    """What is kept on disk."""

    every: int = Field(1, ge=1)
    """Episodes between adapter snapshots; above 1, a resumed run repeats the episodes since the last one, with cached
    replies and to the same bits. There is always one where an evaluation is due."""
    keep: int = Field(3, ge=1)
    """How many of the latest episodes with a snapshot can be returned to."""
    keep_every: int = Field(50, ge=1)
    """Every so many episodes one is kept for good, besides the best one."""


class Config(_Section):
    """The whole configuration of a run.

    Raises UserError from `load` and `parse`, one line for every mistake.
    """

    teacher: TeacherConfig = Field(default_factory=TeacherConfig)
    student: StudentConfig = Field(default_factory=StudentConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    questions: QuestionsConfig = Field(default_factory=QuestionsConfig)
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)

    @classmethod
    def parse(cls, data: Any, place: str = "config") -> Config:
        """A configuration from plain data; `place` is the file named in errors."""
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise UserError(f"{place}: not a mapping of sections; `rl-distill init` writes a config to start from")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise UserError("\n".join(f"{place}: {_explain(e)}" for e in error.errors())) from None

    @classmethod
    def load(cls, path: Path | str) -> Config:
        """The configuration in a YAML file. Relative paths inside it are taken from the file's folder."""
        path = Path(path)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read ({_reason(error)})") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" line {mark.line + 1}:" if mark else ""
            raise UserError(f"{path}:{line} not valid YAML ({getattr(error, 'problem', 'unreadable')})") from None
        config = cls.parse(data, path.name)
        if config.questions.path:
            config.questions.path = _beside(path, config.questions.path)
        if config.student.model_path.startswith(("./", "../", "~")):  # anything else may be a hub id
            config.student.model_path = _beside(path, config.student.model_path)
        return config

    def to_yaml(self) -> str:
        """The resolved configuration, without secrets."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def commented_yaml() -> str:
    """A config file with every setting at its default and its documentation above it."""
    out = ["# rl-distill config. Every setting is shown with its default; delete what you do not change."]
    for section, field in Config.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        out += ["", f"# {(model.__doc__ or '').strip()}", f"{section}:"]
        for name, setting in model.model_fields.items():
            out += [f"  # {line.strip()}" for line in (setting.description or "").splitlines()]
            value = setting.get_default(call_default_factory=True)
            out += [f"  {line}" for line in yaml.safe_dump({name: value}, width=100).splitlines()]
    return "\n".join(out) + "\n"


def secret(key: SecretStr | None, place: str, default: str) -> SecretStr:
    """The value of a key field: a literal, what it takes from the environment, or the variable `default`.

    Raises UserError when a variable is not set.
    """
    return SecretStr(expand(key.get_secret_value() if key else "${" + default + "}", place))


def expand(text: str, place: str) -> str:
    """The text with every `${NAME}` replaced by the environment's value, at the moment it is needed, so that what a
    variable holds never gets into a file. Raises UserError when one is not set."""

    def value(match: re.Match[str]) -> str:
        if not os.environ.get(match[1]):
            raise UserError(f"{place}: the environment variable {match[1]} is not set; export it")
        return os.environ[match[1]]

    return _VARIABLE.sub(value, text)


def _beside(file: Path, path: str) -> str:
    return str((file.parent / Path(path).expanduser()).resolve())


def _reason(error: Exception) -> str:
    return error.strerror or "unreadable" if isinstance(error, OSError) else "not UTF-8 text"


def _model_at(location: tuple[Any, ...]) -> type[BaseModel]:
    model: type[BaseModel] = Config
    for name in location:
        field = model.model_fields.get(str(name))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            break
        model = field.annotation
    return model


def _bounds(model: type[BaseModel], name: str) -> str | None:
    """A field's range in words, or None when it has not both ends."""
    limits = {
        k: getattr(m, k) for m in model.model_fields[name].metadata for k in ("ge", "gt", "le", "lt") if hasattr(m, k)
    }
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    return f"is not between {low:g} and {high:g}" if low is not None and high is not None else None


def _explain(error: Any) -> str:
    """One pydantic error in one plain line: place, value, mend."""
    location, value, kind = error["loc"], error["input"], error["type"]
    place, model = ".".join(map(str, location)), _model_at(location)
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), list(model.model_fields), n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(model.model_fields)}"
        return f"{place}: no such setting; {hint}"
    shown = "a secret" if "api_key" in place else f"{value!r}" if isinstance(value, str) else f"{value}"
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    limits = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
    if kind in limits and (bounds := _bounds(model, str(location[-1]))):
        return f"{place}: {shown} {bounds}"
    if kind == "literal_error":
        return f"{place}: {shown} is not one of {error['ctx']['expected']}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{place}: {shown}: {message.replace('input should be', 'should be')}"
