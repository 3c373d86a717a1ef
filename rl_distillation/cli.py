"""The command line: `rl-distill`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from rl_distillation.errors import EndpointError, StorageError, UserError

if TYPE_CHECKING:
    from rl_distillation.graph.run import Run
    from rl_distillation.metrics import Result

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    help="A small model of your own learns from a large one.\n\nStart with `rl-distill demo`: offline, no key, no GPU.",
)

RunsDir = Annotated[Path, typer.Option("--runs-dir", help="The folder that holds the runs.", envvar="RL_DISTILL_RUNS")]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")]
Name = Annotated[str | None, typer.Option("--name", help="The run's name; a free one is picked otherwise.")]
RUNS = Path("runs")


def main() -> NoReturn:
    """Run the command line. Exit codes: 0 done, 2 the user's mistake, 1 anything else."""
    # Notices of the libraries to their own developers; a user can do nothing about them.
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        app(standalone_mode=True)
    except UserError as error:
        _say(str(error))
        sys.exit(2)
    except (EndpointError, StorageError) as error:
        _say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        _say("stopped")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("RL_DISTILL_DEBUG"):
            raise
        message = str(error).strip().splitlines()
        _say(f"{type(error).__name__}: {message[0] if message else 'no message'} (RL_DISTILL_DEBUG=1 shows where)")
        sys.exit(1)
    sys.exit(0)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Everything random follows from it.", min=0)] = 0,
    episodes: Annotated[int | None, typer.Option(help="Fewer for a glance, more to learn longer.", min=1)] = None,
    name: Name = None,
    as_json: Json = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Train the bundled student with the bundled teacher: offline, in two to three minutes.

    Examples: `rl-distill demo` · `rl-distill demo --seed 1 --json` · `rl-distill demo --episodes 5`
    """
    from rl_distillation.demo.config import demo_config

    _start("demo", demo_config(seed, episodes), name, runs_dir, as_json)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A config file; `rl-distill init` writes one.")],
    name: Name = None,
    as_json: Json = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Train as a config file says.

    Examples: `rl-distill run config.yaml` · `rl-distill run config.yaml --name capitals --json`
    """
    from rl_distillation.config import Config

    _start(config.stem, Config.load(config), name, runs_dir, as_json)


@app.command()
def resume(
    name: Annotated[str, typer.Argument(help="The run to go on with.")],
    as_json: Json = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Go on with a run that was paused or killed.

    Example: `rl-distill resume demo-1`
    """
    from rl_distillation.graph.run import open_run

    _drive(lambda: open_run(runs_dir, name), as_json)


@app.command()
def pause(name: Annotated[str, typer.Argument(help="The run to pause.")], runs_dir: RunsDir = RUNS) -> None:
    """Pause a run that another terminal drives, at its next safe point.

    Example: `rl-distill pause demo-1`
    """
    from rl_distillation.checkpoints.folder import RunFolder

    folder = RunFolder(runs_dir, name)
    folder.load_config()
    if not folder.driven():
        print(f"{name} is not running; go on with: rl-distill resume {name}")
        return
    folder.request_pause()
    print(f"{name} pauses after its current step; go on with: rl-distill resume {name}")


@app.command()
def history(
    name: Annotated[str, typer.Argument(help="The run.")], as_json: Json = False, runs_dir: RunsDir = RUNS
) -> None:
    """List the episodes that a run can be returned to.

    Examples: `rl-distill history demo-1` · `rl-distill history demo-1 --json`
    """
    from dataclasses import asdict

    from rl_distillation.graph.fork import points_of

    points = points_of(runs_dir, name)
    if as_json:
        print(json.dumps([asdict(p) for p in points]))
        return
    for p in points:
        measured = "" if p.accuracy is None else f"held-out {p.accuracy:.1%}"
        print(f"episode {p.episode:>5}  {p.snapshot:<16}  {measured}".rstrip())


@app.command()
def fork(
    name: Annotated[str, typer.Argument(help="The run to branch off from; it is left as it is.")],
    at: Annotated[int, typer.Option("--at", help="An episode that `rl-distill history` lists.", min=0)],
    new: Annotated[str, typer.Option("--name", help="The new run's name.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="A setting to change: section.name=value.")] = None,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Start a new run from an earlier episode of another one.

    Examples: `rl-distill fork demo-1 --at 50 --name gentler --set student.learning_rate=0.001` ·
    `rl-distill fork demo-1 --at 60 --name longer --set training.num_episodes=100`
    """
    from rl_distillation.graph.fork import fork_run

    config = fork_run(runs_dir, name, at, new, changes or []).load_config()
    if at >= config.training.num_episodes:
        more = f"--set training.num_episodes={at + 50}"
        print(f"{new} has nothing left to train: its last episode is {config.training.num_episodes}; fork with {more}")
        return
    print(f"{new} starts where {name} was after episode {at}; go on with: rl-distill resume {new}")


def _start(stem: str, config: Any, name: str | None, runs_dir: Path, as_json: bool) -> None:
    from rl_distillation.checkpoints.folder import free_name

    chosen = name or free_name(runs_dir, re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip("._-") or "run")

    def opened() -> AbstractContextManager[Run]:
        from rl_distillation.graph.run import new_run

        return new_run(runs_dir, chosen, config)

    _drive(opened, as_json)


def _drive(opened: Callable[[], AbstractContextManager[Run]], as_json: bool) -> None:
    from rich.console import Console

    console = Console(stderr=True)
    with ExitStack() as stack:
        with console.status("loading the models") if console.is_terminal else nullcontext():
            from rl_distillation.progress import shown

            run = stack.enter_context(opened())
        stack.enter_context(_pausable(run, console))
        facts = run.ledger.facts()
        console.print(
            f"{run.folder.path}: {facts['teacher']} teaches {facts['student']} on {facts['device']}", highlight=False
        )
        try:
            for _ in stack.enter_context(shown(run.steps(), run.config.training.num_episodes, console)):
                pass
        except KeyboardInterrupt:
            console.print(f"stopped at once; go on with: rl-distill resume {run.folder.name}", highlight=False)
            raise
        result = run.result()
    if result.status != "finished":
        console.print(f"paused; go on with: rl-distill resume {result.run}", highlight=False)
    if result.teacher_accuracy is not None and result.teacher_accuracy < 0.7:
        console.print(
            f"note: the teacher itself answers only {result.teacher_accuracy:.0%} of the held-out questions right",
            highlight=False,
        )
    if as_json:
        print(json.dumps(result.to_json()))
    else:
        _show(result)


@contextmanager
def _pausable(run: Run, console: Any) -> Iterator[None]:
    """Ctrl-C or a termination signal pauses at the next safe point; a second Ctrl-C stops at once."""

    def pause(number: int, frame: Any) -> None:
        if run.control.drain_requested:
            raise KeyboardInterrupt
        run.control.request_drain()
        console.print("finishing this step, then pausing (again to stop at once)", highlight=False)

    before = {number: signal.signal(number, pause) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command()
def runs(as_json: Json = False, runs_dir: RunsDir = RUNS) -> None:
    """List the runs.

    Example: `rl-distill runs`
    """
    results = [_result(runs_dir, path.parent.name) for path in sorted(runs_dir.glob("*/ledger.db"))]
    if as_json:
        print(json.dumps([r.to_json() for r in results]))
        return
    if not results:
        print(f"no runs in {runs_dir}; `rl-distill demo` makes one")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "status", "episodes", "questions", "before", "after", "seconds")
    for r in results:
        figures = (_share(r.accuracy_before), _share(r.accuracy_after), f"{r.wall_s:.0f}")
        table.add_row(r.run, r.status, str(r.episodes), str(r.questions), *figures)
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The run.")], as_json: Json = False, runs_dir: RunsDir = RUNS
) -> None:
    """Show what a run achieved.

    Examples: `rl-distill show demo-1` · `rl-distill show demo-1 --json`
    """
    result = _result(runs_dir, name)
    if as_json:
        print(json.dumps(result.to_json()))
    else:
        _show(result)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="The run.")],
    out: Annotated[Path, typer.Argument(help="Where the model goes; a new or empty folder.")],
    merged: Annotated[bool, typer.Option("--merged", help="A standalone model instead of a PEFT adapter.")] = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Take the trained student out of a run.

    Examples: `rl-distill export demo-1 adapter` · `rl-distill export demo-1 model --merged`
    """
    from rl_distillation.checkpoints.folder import RunFolder

    folder = RunFolder(runs_dir, name)
    folder.load_config()
    from rl_distillation.export import export_student

    print(export_student(folder, out, merged))


@app.command("eval")
def evaluate(
    model_or_run: Annotated[str, typer.Argument(metavar="MODEL_OR_RUN", help="A run's name or a model folder.")],
    questions: Annotated[Path | None, typer.Option(help="A file of questions with answers to measure on.")] = None,
    as_json: Json = False,
    runs_dir: RunsDir = RUNS,
) -> None:
    """Measure a run's student, or any local model, on held-out questions.

    Without `--questions` a run is measured on its own held-out questions, and a model on the demo's. An answer counts
    when it is the same as the reference after normalising; a run in training asks its own judge, which may be kinder.

    Examples: `rl-distill eval demo-1` · `rl-distill eval ./model` · `rl-distill eval ./model --questions mine.jsonl`
    """
    from rl_distillation.evaluation import evaluate_model, evaluate_run

    is_run = (runs_dir / model_or_run / "ledger.db").is_file()
    if not is_run and "/" not in model_or_run and not Path(model_or_run).exists():
        raise UserError(f"{model_or_run}: no such run in {runs_dir} (`rl-distill runs` lists them), and no such folder")
    score = evaluate_run(runs_dir, model_or_run, questions) if is_run else evaluate_model(model_or_run, questions)
    if as_json:
        print(json.dumps(score.to_json()))
    else:
        low, high = score.accuracy_ci
        print(f"{model_or_run}: {score.accuracy:.1%} of {score.questions} right by exact comparison")
        print(f"95 % interval {low:.1%} to {high:.1%}")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("config.yaml"),
) -> None:
    """Write a commented config.yaml to start from.

    Examples: `rl-distill init` · `rl-distill init mine.yaml`
    """
    from rl_distillation.config import commented_yaml

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(commented_yaml())
    except FileExistsError:
        raise UserError(f"{path}: exists already; name another file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    print(f"{path} written; run it with: rl-distill run {path}")


def _result(runs_dir: Path, name: str) -> Result:
    from contextlib import closing
    from dataclasses import replace

    from rl_distillation.checkpoints.folder import RunFolder
    from rl_distillation.checkpoints.ledger import Ledger
    from rl_distillation.metrics import summarise

    folder = RunFolder(runs_dir, name)
    folder.load_config()
    with closing(Ledger(folder.ledger, read_only=True)) as ledger:
        result = summarise(name, ledger)
    # A killed process could not say that it stopped.
    return replace(result, status="paused") if result.status == "running" and not folder.driven() else result


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _show(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in result.to_json().items():
        if isinstance(value, dict):
            value = "  ".join(f"{k} {v:g}" for k, v in value.items())
        elif key == "accuracy_ci" and value:
            value = f"{value[0]:.1%} to {value[1]:.1%}"
        elif isinstance(value, float) and ("accuracy" in key or key in ("size_reduction", "knowledge_transfer_rate")):
            value = f"{value:.1%}"
        table.add_row(key.replace("_", " "), "–" if value is None else str(value))
    Console().print(table)
