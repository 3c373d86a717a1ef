"""The demo domain: everyday questions whose true answers are known symbolically.

Ten skills turn the facts of `facts.yaml` (and a few that can be computed) into questions, each in several phrasings.
Because the truth is known without any model, teacher, judge and student can all be scored against it.

The split is made on the *wording*: of every fact one phrasing is held out, chosen by a hash of the fact, and of every
comparison a tenth of the pairs. A student can therefore answer a held-out question only if it learned the fact (or the
rule) from other wordings, and `is_held_out` says for any text whether it may be used for training.
"""

from __future__ import annotations

import calendar
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from rl_distillation.questions.question import wording

DAYS = list(calendar.day_name)
MONTHS = list(calendar.month_name)[1:]
LARGEST = 60
"""Numbers in questions run from 0 to this."""


@dataclass(frozen=True)
class Question:
    """One question of the domain with its true answer and a full-sentence form of that answer."""

    text: str
    answer: str
    topic: str
    sentence: str
    """The answer as a full sentence with `{}` where the answer stands, as a talkative model would put it."""
    subject: str
    """The word the question is about."""
    held_out: bool


@dataclass(frozen=True)
class Fact:
    """`subject` goes into the phrasings; `answer` is what is asked for."""

    kind: str
    subject: tuple[str, ...]
    answer: str


PHRASINGS: dict[str, list[str]] = {
    "capital": [
        "What is the capital of {0}?",
        "Which city is the capital of {0}?",
        "Name the capital of {0}.",
        "Tell me the capital of {0}.",
        "The capital of {0} is called what?",
        "What city is the seat of government of {0}?",
        "{0} has which city as its capital?",
    ],
    "country": [
        "Which country has {0} as its capital?",
        "{0} is the capital of which country?",
        "Of which country is {0} the capital?",
        "Name the country whose capital is {0}.",
        "In which country do you find the capital {0}?",
        "What country is governed from {0}?",
    ],
    "opposite": [
        "What is the opposite of {0}?",
        "Name the opposite of {0}.",
        "Which word means the opposite of {0}?",
        "What is the antonym of {0}?",
        "Give me a word that is the contrary of {0}.",
        "If something is not {0}, what is it?",
    ],
    "day_after": [
        "Which day comes after {0}?",
        "What day follows {0}?",
        "If today is {0}, what day is tomorrow?",
        "Name the day after {0}.",
        "Today is {0}. What is the next day?",
    ],
    "day_before": [
        "Which day comes before {0}?",
        "What day precedes {0}?",
        "If today is {0}, what day was yesterday?",
        "Name the day before {0}.",
        "Today is {0}. What was the previous day?",
    ],
    "month_after": [
        "Which month comes after {0}?",
        "What month follows {0}?",
        "Name the month after {0}.",
        "If it is {0} now, what is the next month?",
        "What is the month right after {0}?",
    ],
    "month_before": [
        "Which month comes before {0}?",
        "What month precedes {0}?",
        "Name the month before {0}.",
        "If it is {0} now, what was the previous month?",
        "What is the month right before {0}?",
    ],
    "number_after": [
        "Which number comes after {0}?",
        "What is {0} plus one?",
        "What number follows {0}?",
        "Count one up from {0}.",
        "What is the next number after {0}?",
        "Add one to {0}.",
    ],
    "number_before": [
        "Which number comes before {0}?",
        "What is {0} minus one?",
        "What number precedes {0}?",
        "Count one down from {0}.",
        "What is the previous number before {0}?",
        "Take one from {0}.",
    ],
    "larger": [
        "Which is larger, {0} or {1}?",
        "Which number is greater, {0} or {1}?",
        "What is the maximum of {0} and {1}?",
        "Of {0} and {1}, which is more?",
    ],
    "smaller": [
        "Which is smaller, {0} or {1}?",
        "Which number is less, {0} or {1}?",
        "What is the minimum of {0} and {1}?",
        "Of {0} and {1}, which is fewer?",
    ],
    "unit": [
        "How many {1} are in {2} {0}?",
        "{2} {0} are how many {1}?",
        "Convert {2} {0} to {1}.",
        "What is {2} {0} in {1}?",
        "Express {2} {0} in {1}.",
        "How many {1} make {2} {0}?",
    ],
    "young": [
        "What is a baby {0} called?",
        "What do you call a young {0}?",
        "Name the young of the {0}.",
        "A baby {0} is called what?",
        "What is the name for a {0} that was just born?",
        "Which word means a young {0}?",
    ],
    "plural": [
        "What is the plural of {0}?",
        "Name the plural of {0}.",
        "One {0}, two what?",
        "How do you say more than one {0}?",
        "Give me the plural form of {0}.",
        "Which word means several of {0}?",
    ],
    "parity": [
        "Is {0} odd or even?",
        "Is the number {0} even or odd?",
        "Tell me if {0} is odd or even.",
        "{0} is which, even or odd?",
        "What is the parity of {0}?",
    ],
}

TOPIC_OF = {
    "capital": "capitals",
    "country": "countries",
    "opposite": "opposites",
    "day_after": "weekdays",
    "day_before": "weekdays",
    "month_after": "months",
    "month_before": "months",
    "number_after": "counting",
    "number_before": "counting",
    "larger": "comparisons",
    "smaller": "comparisons",
    "unit": "units",
    "young": "animals",
    "plural": "plurals",
    "parity": "parity",
}

SENTENCES = {
    "capital": "The capital of {0} is {{}}.",
    "country": "{0} is the capital of {{}}.",
    "opposite": "The opposite of {0} is {{}}.",
    "day_after": "The day after {0} is {{}}.",
    "day_before": "The day before {0} is {{}}.",
    "month_after": "The month after {0} is {{}}.",
    "month_before": "The month before {0} is {{}}.",
    "number_after": "The number after {0} is {{}}.",
    "number_before": "The number before {0} is {{}}.",
    "larger": "Of {0} and {1} the larger is {{}}.",
    "smaller": "Of {0} and {1} the smaller is {{}}.",
    "unit": "There are {{}} {1} in {2} {0}.",
    "young": "A young {0} is called {{}}.",
    "plural": "The plural of {0} is {{}}.",
    "parity": "The number {0} is {{}}.",
}

TOPICS: list[str] = sorted(set(TOPIC_OF.values()))


def _hash(text: str) -> int:
    """A hash that is the same on every machine and in every process, unlike `hash()`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _facts() -> Iterator[Fact]:
    tables = yaml.safe_load((files(__package__) / "facts.yaml").read_text(encoding="utf-8"))
    for country, city in tables["capitals"].items():
        yield Fact("capital", (country,), city)
        yield Fact("country", (city,), country)
    for one, other in tables["opposites"].items():
        one, other = str(one).lower(), str(other).lower()  # YAML reads true and false as booleans
        yield Fact("opposite", (one,), other)
        yield Fact("opposite", (other,), one)
    for cycle, kind in ((DAYS, "day"), (MONTHS, "month")):
        for i, name in enumerate(cycle):
            yield Fact(f"{kind}_after", (name,), cycle[(i + 1) % len(cycle)])
            yield Fact(f"{kind}_before", (name,), cycle[i - 1])
    for n in range(1, LARGEST):
        yield Fact("number_after", (str(n),), str(n + 1))
        yield Fact("number_before", (str(n),), str(n - 1))
        yield Fact("parity", (str(n),), "even" if n % 2 == 0 else "odd")
    for a in range(LARGEST):
        for b in range(LARGEST):
            if a != b:
                yield Fact("larger", (str(a), str(b)), str(max(a, b)))
                yield Fact("smaller", (str(a), str(b)), str(min(a, b)))
    for larger, smaller, factor in tables["units"]:
        for n in range(2, 10):
            yield Fact("unit", (larger, smaller, str(n)), str(n * factor))
    for parent, child in tables["young"].items():
        yield Fact("young", (parent,), child)
    for single, many in tables["plurals"].items():
        yield Fact("plural", (single,), many)


def _questions() -> Iterator[Question]:
    for fact in _facts():
        phrasings = PHRASINGS[fact.kind]
        key = f"{fact.kind}:{'|'.join(fact.subject)}"
        if fact.kind in ("larger", "smaller"):  # one phrasing a pair, or these would be most of the domain
            kept = [_hash(key) % len(phrasings)]
            held_out = kept[0] if _hash("held out " + key) % 10 == 0 else None
        else:
            kept = list(range(len(phrasings)))
            held_out = _hash(key) % len(phrasings)
        for i in kept:
            yield Question(
                phrasings[i].format(*fact.subject),
                fact.answer,
                TOPIC_OF[fact.kind],
                SENTENCES[fact.kind].format(*fact.subject),
                fact.subject[0],
                i == held_out,
            )


@cache
def all_questions() -> tuple[Question, ...]:
    """Every question of the domain, in a fixed order."""
    return tuple(_questions())


@cache
def _by_text() -> dict[str, Question]:
    return {wording(q.text): q for q in all_questions()}


def lookup(text: str) -> Question | None:
    """The domain's question with this wording, or None when the text is no question of the domain."""
    return _by_text().get(wording(text))


def truth(text: str) -> str | None:
    """The true answer to a question of the domain, or None when the text is no question of the domain."""
    question = lookup(text)
    return question.answer if question else None


def is_held_out(text: str) -> bool:
    """Whether this wording is kept for evaluation and must never be generated for training."""
    question = lookup(text)
    return question is not None and question.held_out


def pool() -> list[Question]:
    """The questions that may be written, asked and trained on."""
    return [q for q in all_questions() if not q.held_out]


def held_out(per_topic: int = 40) -> list[Question]:
    """The evaluation set: up to `per_topic` held-out questions of every topic, the same on every machine."""
    picked = []
    for topic in TOPICS:
        of_topic = [q for q in all_questions() if q.held_out and q.topic == topic]
        picked += random.Random(topic).sample(of_topic, min(per_topic, len(of_topic)))
    return picked
