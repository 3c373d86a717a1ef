"""Where questions come from, and what happens when a source is no good."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_distillation.errors import UserError
from rl_distillation.questions.dataset import Dataset, Stream, read_questions
from rl_distillation.questions.question import Question, wording
from rl_distillation.questions.written import lines

Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.jsonl", '{"question": "One?", "answer": 1, "topic": "n"}\n\n{"prompt": "Two?", "gold": "2"}\n'),
        ("q.csv", "question,answer,topic\nOne?,1,n\nTwo?,2,\n"),
    ],
)
def test_questions_with_answers_are_read(write: Write, name: str, text: str) -> None:
    assert read_questions(write(name, text)) == [Question("One?", "1", "n"), Question("Two?", "2", None)]


def test_line_separators_inside_a_question_do_not_cut_it(write: Write) -> None:
    assert read_questions(write("q.jsonl", '{"question": "a\u2028b?"}\n{"question": "c?"}')) == [
        Question("a\u2028b?"),
        Question("c?"),
    ]
    assert read_questions(write("q.csv", 'question,answer\n"first\nsecond?",2\n')) == [Question("first\nsecond?", "2")]


def test_a_text_file_has_a_question_a_line(write: Write) -> None:
    assert read_questions(write("q.txt", "One?\n\n Two? \n")) == [Question("One?"), Question("Two?")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.jsonl", "", "q.jsonl: holds no questions"),
        ("q.txt", "\n \n", "q.txt: holds no questions"),
        ("q.jsonl", '{"question": "a?"}\n{oops\n', "q.jsonl: line 2: not valid JSON"),
        ("q.jsonl", '{"text_of_it": "a?"}', "q.jsonl: line 1: no text under `question`"),
        ("q.jsonl", "[1]", "q.jsonl: line 1: list is neither"),
        ("q.csv", "a,b\n1,2\n", "q.csv: line 1: no column named question"),
        ("q.pdf", "x", "q.pdf: not a .jsonl, .csv or .txt file"),
    ],
)
def test_a_bad_file_is_named_with_its_line(write: Write, name: str, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_questions(write(name, text))
    assert message in str(error.value)


def test_a_missing_and_a_binary_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        read_questions(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(UserError, match=r"b\.txt: cannot be read \(not UTF-8"):
        read_questions(tmp_path / "b.txt")


@given(
    st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=2, max_size=60, unique_by=wording),
    st.integers(0, 99),
)
def test_a_dataset_deals_every_training_question_once_an_epoch(texts: list[str], seed: int) -> None:
    data = Dataset(texts, seed=seed, share=0.2, most=5)
    held = {q.text for q in data.heldout()}
    training = set(texts) - held
    assert held and training
    for epoch in (0, 1):
        taken, cursor = data.take(1, epoch * len(training), len(training))
        assert sorted(q.text for q in taken) == sorted(training)
        assert cursor == (epoch + 1) * len(training)


@given(st.permutations([f"question {n}" for n in range(30)]))
def test_the_split_does_not_depend_on_the_order_of_lines(texts: list[str]) -> None:
    held = {q.text for q in Dataset(texts, seed=0, share=0.2, most=50).heldout()}
    assert held == {q.text for q in Dataset(sorted(texts), seed=0, share=0.2, most=50).heldout()}


def test_a_dataset_can_be_taken_from_anywhere_again() -> None:
    data = Dataset([f"q{n}" for n in range(20)], seed=3, share=0.1, most=5)
    later = data.take(2, 30, 7)
    data.take(1, 0, 30)
    assert data.take(2, 30, 7) == later


def test_one_question_is_too_few() -> None:
    with pytest.raises(UserError, match="at least 2"):
        Dataset(["Only?", "only"], seed=0, share=0.5, most=5)


def test_a_generator_is_read_as_needed_and_not_beyond() -> None:
    read = []

    def endless():
        for n in itertools.count():
            read.append(n)
            yield f"question {n}"

    stream = Stream(endless(), heldout=3)
    first, cursor = stream.take(1, 0, 4)
    assert [q.text for q in stream.heldout()] == ["question 0", "question 1", "question 2"]
    assert [q.text for q in first] == [f"question {n}" for n in range(3, 7)]
    assert len(read) == 7
    resumed = Stream((f"question {n}" for n in itertools.count()), heldout=3)
    assert resumed.take(2, cursor, 2)[0] == stream.take(2, cursor, 2)[0]


def test_a_generator_that_ends_ends_the_episodes() -> None:
    stream = Stream(iter(["a", "b", "c"]), heldout=1)
    assert len(stream.take(1, 0, 5)[0]) == 2
    assert stream.take(2, 2, 5)[0] == []


def test_lists_in_a_reply_become_questions() -> None:
    reply = 'Here are two questions:\n1. What is it?\n- "Who was she?"\n\n* Where to go?\nYes\n'
    assert lines(reply) == ["What is it?", "Who was she?", "Where to go?"]


@given(st.text())
def test_any_reply_can_be_read(reply: str) -> None:
    assert all(line.strip() == line and line for line in lines(reply))
