"""Questions from a file, a list, or a generator.

A finite set is split once: a share is held out (chosen by a hash of the wording, so the split does not depend on the
order of lines), the rest is dealt in an order shuffled anew every epoch from the seed. A generator is read as needed:
the first questions are held out, the others pass through.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rl_distillation.errors import UserError
from rl_distillation.questions.question import Question, wording

QUESTION_KEYS = ("question", "prompt", "instruction", "input", "text")
ANSWER_KEYS = ("answer", "gold", "reference", "output", "completion")


def read_questions(path: Path | str) -> list[Question]:
    """The questions of a JSONL, CSV or TXT file, in order.

    A JSON line or CSV row carries `question` and optionally `answer` and `topic`; a TXT line is a question.
    Raises UserError naming file, line and mend.
    """
    path = Path(path)
    readers = {".jsonl": _jsonl, ".csv": _csv, ".txt": _txt}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path}: not a .jsonl, .csv or .txt file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason})") from None
    questions = list(readers[path.suffix.lower()](path, text))
    if not questions:
        raise UserError(f"{path}: holds no questions; put one on each line")
    return questions


def _jsonl(path: Path, text: str) -> Iterator[Question]:
    for n, line in enumerate(text.split("\n"), 1):  # not splitlines: a JSON string may hold other line separators
        if line.strip():
            try:
                yield to_question(json.loads(line), f"{path}: line {n}")
            except json.JSONDecodeError as error:
                raise UserError(f"{path}: line {n}: not valid JSON ({error.msg})") from None


def _csv(path: Path, text: str) -> Iterator[Question]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not set(reader.fieldnames or ()) & set(QUESTION_KEYS):
        raise UserError(f"{path}: line 1: no column named question")
    for row in reader:
        if any(row.values()):
            yield to_question({k: v for k, v in row.items() if k and v}, f"{path}: line {reader.line_num}")


def _txt(path: Path, text: str) -> Iterator[Question]:
    yield from (Question(line.strip()) for line in text.splitlines() if line.strip())


def to_question(item: Any, place: str) -> Question:
    """A question from a text, a dictionary with the usual keys, or a Question. Raises UserError for anything else."""
    if isinstance(item, Question):
        return item
    if isinstance(item, str) and item.strip():
        return Question(item.strip())
    if isinstance(item, dict):
        text = next((item[k] for k in QUESTION_KEYS if k in item), None)
        gold = next((item[k] for k in ANSWER_KEYS if item.get(k) is not None), None)
        if isinstance(text, str) and text.strip():
            topic = item.get("topic")
            return Question(text.strip(), None if gold is None else str(gold), None if topic is None else str(topic))
        raise UserError(f"{place}: no text under `question` (found: {', '.join(map(str, item)) or 'nothing'})")
    raise UserError(f"{place}: {type(item).__name__} is neither a question nor a mapping with `question`")


class Dataset:
    """A finite set of questions. Raises UserError when it is too small to hold anything out."""

    def __init__(self, items: Iterable[Any], *, seed: int, share: float, most: int, place: str = "questions") -> None:
        questions = {wording(q.text): q for q in (to_question(i, f"{place}: item {n}") for n, i in enumerate(items, 1))}
        if len(questions) < 2:
            raise UserError(f"{place}: {len(questions)} different questions; at least 2 are needed, one to hold out")
        ranked = sorted(questions, key=lambda w: hashlib.sha256(w.encode()).digest())
        held = set(ranked[: max(1, min(most, round(len(ranked) * share), len(ranked) - 1))])
        self._heldout = [q for w, q in questions.items() if w in held]
        self._training = [q for w, q in questions.items() if w not in held]
        self._seed = seed

    def heldout(self) -> list[Question]:
        return self._heldout

    def take(self, episode: int, cursor: int, n: int) -> tuple[list[Question], int]:
        return [self._at(cursor + i) for i in range(n)], cursor + n

    def _at(self, position: int) -> Question:
        epoch, place = divmod(position, len(self._training))
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            self._order = random.Random(f"{self._seed} {epoch}").sample(self._training, len(self._training))
        return self._order[place]


class Stream:
    """Questions from a generator, read once and as needed; the first ones are held out.

    A resumed run must be given the generator anew: what earlier episodes took is skipped.
    """

    def __init__(self, items: Iterable[Any], *, heldout: int) -> None:
        self._items = (to_question(item, f"questions: item {n}") for n, item in enumerate(items, 1))
        self._held: dict[str, Question] = {}
        for question in self._items:
            self._held[wording(question.text)] = question
            if len(self._held) == heldout:
                break
        if not self._held:
            raise UserError("questions: the generator gave none")
        self._read = 0

    def heldout(self) -> list[Question]:
        return list(self._held.values())

    def take(self, episode: int, cursor: int, n: int) -> tuple[list[Question], int]:
        if cursor < self._read:
            raise UserError("questions: a generator cannot go back; give a list or a file")
        taken: list[Question] = []
        for question in self._items:
            if wording(question.text) in self._held:
                continue
            self._read += 1
            if self._read > cursor:
                taken.append(question)
            if len(taken) == n:
                break
        return taken, self._read
