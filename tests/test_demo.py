"""The demo domain and its models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open

from rl_distillation.checkpoints.ledger import Ledger
from rl_distillation.config import StudentConfig, TeacherConfig
from rl_distillation.demo import domain, weights
from rl_distillation.errors import UserError
from rl_distillation.judging.llm import LLMJudge
from rl_distillation.judging.verdict import Pair
from rl_distillation.models.caller import Caller
from rl_distillation.models.chat import chat_model
from rl_distillation.models.prompts import answer_messages
from rl_distillation.models.student import Student
from rl_distillation.questions.question import wording
from rl_distillation.questions.written import Written


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    return Caller(chat_model("demo", TeacherConfig()), "teacher", Ledger(tmp_path_factory.mktemp("t") / "ledger.db"), 8)


def test_has_eight_skills_and_more_with_several_phrasings_each() -> None:
    assert len(domain.TOPICS) >= 8
    assert all(len(phrasings) >= 4 for phrasings in domain.PHRASINGS.values())


def test_every_wording_is_one_question_with_one_answer() -> None:
    wordings = [wording(q.text) for q in domain.all_questions()]
    assert len(set(wordings)) == len(wordings)


def test_heldout_is_disjoint_from_the_pool_and_covers_every_topic() -> None:
    pool = {wording(q.text) for q in domain.pool()}
    held = domain.held_out()
    assert not pool & {wording(q.text) for q in held}
    assert {q.topic for q in held} == set(domain.TOPICS)


def test_every_heldout_fact_is_asked_in_the_pool_in_other_words() -> None:
    asked = {q.sentence + q.answer for q in domain.pool()}
    facts = [q for q in domain.held_out() if q.topic != "comparisons"]  # these test a rule, on other pairs
    assert all(q.sentence + q.answer in asked for q in facts)


def test_no_generated_question_is_held_out(teacher: Caller) -> None:
    """Not even when the teacher writes one, and however it spells it."""
    source = Written(teacher, domain.TOPICS, 4, seed=1, heldout=[], refuse=domain.is_held_out)
    questions = [q.text for episode in range(1, 9) for q in source.take(episode, 0, 128)[0]]
    assert len(questions) > 500
    assert not [q for q in questions if domain.is_held_out(q)]
    held = domain.held_out()[0]
    assert domain.is_held_out(f"  {held.text.upper()}!")


def test_teacher_writes_real_questions_on_the_topic(teacher: Caller) -> None:
    source = Written(teacher, domain.TOPICS, 4, seed=2, heldout=[], refuse=domain.is_held_out, truth=domain.truth)
    questions = source.take(1, 0, 256)[0]
    assert {q.topic for q in questions} == set(domain.TOPICS)
    # Of comparisons the domain lists one phrasing a pair, so others are good questions that it does not know.
    listed = [q.gold is not None for q in questions if q.topic != "comparisons"]
    assert sum(listed) / len(listed) > 0.8


def test_teacher_answers_heldout_questions(teacher: Caller) -> None:
    held = domain.held_out()
    replies = teacher.ask([answer_messages(q.text) for q in held])
    assert sum(reply == q.answer for reply, q in zip(replies, held, strict=True)) / len(held) >= 0.97


def test_student_base_knows_little() -> None:
    held = domain.held_out()
    answers = Student(StudentConfig(max_new_tokens=8), 0).answer([q.text for q in held], temperature=0, seed=0)
    assert sum(a.text == q.answer for a, q in zip(answers, held, strict=True)) / len(held) <= 0.35


def test_teacher_judges_like_the_truth(teacher: Caller) -> None:
    """On held-out questions, with answers bare and in sentences, right, wrong, hedged and denied."""
    pairs, truth = [], []
    held = domain.held_out()
    for q, other in zip(held, held[1:] + held[:1], strict=True):
        forms = [(q.answer, True), (q.sentence.format(q.answer), True), (f"It is not {q.answer}.", False)]
        if q.answer != other.answer:
            forms += [(other.answer, False), (q.sentence.format(other.answer), False)]
            forms += [(f"{q.answer} or {other.answer}", False)]
        pairs += [Pair(q.text, q.answer, answer) for answer, _ in forms]
        truth += [right for _, right in forms]
    verdicts = LLMJudge(teacher).decide(pairs)
    assert (
        sum(v is not None and v.correct == right for v, right in zip(verdicts, truth, strict=True)) / len(truth) > 0.97
    )


def test_models_are_small_and_the_student_five_times_smaller() -> None:
    files = {name: weights.FOLDER / name / "model.safetensors" for name in ("teacher", "student")}
    assert sum(f.stat().st_size for f in weights.FOLDER.rglob("*")) <= 15 * 2**20
    sizes = {}
    for name, file in files.items():
        with safe_open(file, "pt") as tensors:
            sizes[name] = sum(tensors.get_tensor(key).numel() for key in tensors.keys())  # noqa: SIM118
    assert sizes["teacher"] >= 5 * sizes["student"]


def test_a_damaged_weight_file_is_named_and_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(weights.FOLDER, tmp_path / "weights"))
    file = folder / "student" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"student/model\.safetensors: damaged"):
        weights.verified("student", folder)
    file.unlink()
    with pytest.raises(UserError, match=r"student/model\.safetensors: missing"):
        weights.verified("student", Path(folder, "."))


def test_the_manifest_lists_every_file() -> None:
    listed = json.loads((weights.FOLDER / weights.MANIFEST).read_text())
    there = {p.relative_to(weights.FOLDER).as_posix() for p in weights.FOLDER.rglob("*") if p.is_file()}
    assert set(listed) == there - {weights.MANIFEST}
