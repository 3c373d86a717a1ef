"""The student: generation, the loss on answers alone, snapshots to the bit, and exports that answer the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl_distillation.config import StudentConfig
from rl_distillation.demo import domain, weights
from rl_distillation.errors import UserError
from rl_distillation.learning.corrective import corrective_update
from rl_distillation.learning.policy_gradient import next_baseline, policy_gradient_update
from rl_distillation.learning.schedule import learning_rate
from rl_distillation.models.student import ADAPTER, Example, Student

CONFIG = StudentConfig(max_new_tokens=8, learning_rate=3e-3)
POOL = domain.pool()[::97][:24]
QUESTIONS, ANSWERS = [q.text for q in POOL], [q.answer for q in POOL]


@pytest.fixture
def student() -> Student:
    return Student(CONFIG, seed=0)


def loss(student: Student, example: Example) -> float:
    with torch.no_grad():
        logits, targets, mask = student.logits([(example.prompt, example.completion)])
        nll = torch.nn.functional.cross_entropy(logits[0], targets[0], reduction="none")
    return float(nll[mask[0]].sum())


def test_padding_does_not_change_an_answer(student: Student) -> None:
    together = [a.tokens for a in student.answer(QUESTIONS, temperature=0, seed=0)]
    alone = [student.answer([q], temperature=0, seed=0)[0].tokens for q in QUESTIONS]
    assert together == alone


def test_the_same_seed_samples_the_same_answers(student: Student) -> None:
    first, again, other = (student.answer(QUESTIONS, temperature=1, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_only_the_answer_and_its_end_are_learned(student: Student) -> None:
    example = student.examples(["What is the capital of France?"], ["Paris"])[0]
    assert student.tokenizer.decode(example.completion) == " Paris<|end|>"
    assert student.tokenizer.decode(example.prompt).endswith("<|assistant|>")


def test_training_and_sampling_see_the_same_sequence(student: Student) -> None:
    """What is trained on is token for token what the student would have to say."""
    completion = student.answer(QUESTIONS[:1], temperature=0, seed=0)[0]
    assert student.examples(QUESTIONS[:1], [completion.text])[0].completion == completion.tokens


def test_batched_logits_are_those_of_plain_forward_passes(student: Student) -> None:
    examples = student.examples(QUESTIONS, ANSWERS)
    logits, _, mask = student.logits([(e.prompt, e.completion) for e in examples])
    for row, example in enumerate(examples):
        plain = student.model(torch.tensor([example.prompt + example.completion])).logits[
            0, len(example.prompt) - 1 : -1
        ]
        torch.testing.assert_close(logits[row][mask[row]], plain, rtol=1e-4, atol=1e-4)


def test_an_update_moves_the_adapters_and_nothing_else(student: Student) -> None:
    before = {n: p.detach().clone() for n, p in student.model.named_parameters()}
    student.update(student.examples(QUESTIONS, ANSWERS), 1e-3)
    moved = {n for n, p in student.model.named_parameters() if not torch.equal(before[n], p)}
    assert moved and all("lora_" in n for n in moved)


def test_correction_teaches_the_answers(student: Student) -> None:
    lessons = list(zip(QUESTIONS, ANSWERS, strict=True))
    options = {"updates": 60, "batch_size": 16, "replay_share": 0.5, "learning_rate": lambda part: 3e-3, "seed": 0}
    corrective_update(student, lessons, lessons[:4], **options)
    answers = [a.text for a in student.answer(QUESTIONS, temperature=0, seed=0)]
    assert sum(a == b for a, b in zip(answers, ANSWERS, strict=True)) > len(ANSWERS) * 0.8


def test_reward_makes_a_sampled_answer_likelier() -> None:
    student = Student(CONFIG, seed=0)
    example = student.examples(QUESTIONS[:2], ANSWERS[:2])[0]
    before = loss(student, example)
    policy_gradient_update(student, [example] * 2, [1.0, 1.0], baseline=0.5, batch_size=8, learning_rate=1e-3)
    assert loss(student, example) < before


def test_an_answer_no_better_than_expected_changes_nothing(student: Student) -> None:
    examples = student.examples(QUESTIONS[:2], ANSWERS[:2])
    assert policy_gradient_update(student, examples, [0.8, 0.8], baseline=0.9, batch_size=8, learning_rate=1e-3) is None


def test_the_policy_gradient_is_the_advantage_weighted_one(student: Student) -> None:
    """The reported loss is mean(-advantage * log p) over tokens, by hand."""
    example = student.examples(QUESTIONS[:1], ANSWERS[:1])[0]
    expected = 0.7 * loss(student, example) / len(example.completion)
    got = policy_gradient_update(student, [example] * 2, [1.0, 1.0], baseline=0.3, batch_size=4, learning_rate=1e-9)
    assert got == pytest.approx(expected, rel=1e-4)


def test_the_baseline_follows_the_scores() -> None:
    assert next_baseline(0.0, [1.0, 0.0], first=True) == 0.5
    assert next_baseline(0.5, [], first=False) == 0.5
    assert 0.5 < next_baseline(0.5, [1.0], first=False) < 1


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(1.0, step / 100) for step in range(101)]
    assert rates[0] < 0.1 and max(rates) > 0.9 and rates[-1] == pytest.approx(0.1)


def test_a_snapshot_brings_back_every_bit(student: Student, tmp_path: Path) -> None:
    examples = student.examples(QUESTIONS, ANSWERS)
    student.update(examples, 1e-3)
    (tmp_path / "a").mkdir()
    student.save(tmp_path / "a")
    student.update(examples, 1e-3)
    (tmp_path / "b").mkdir()
    student.save(tmp_path / "b")
    other = Student(CONFIG, seed=5)
    other.load(tmp_path / "a")
    assert other.snapshot == "a"
    other.update(examples, 1e-3)
    (tmp_path / "c").mkdir()
    other.save(tmp_path / "c")
    for name in (tmp_path / "b").iterdir():
        assert name.read_bytes() == (tmp_path / "c" / name.name).read_bytes()


def test_a_truncated_snapshot_is_named(student: Student, tmp_path: Path) -> None:
    student.save(tmp_path)
    file = tmp_path / ADAPTER
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="snapshot is missing or damaged"):
        student.load(tmp_path)


@pytest.mark.parametrize("merged", [False, True])
def test_an_export_answers_exactly_like_the_student(student: Student, tmp_path: Path, merged: bool) -> None:
    student.update(student.examples(QUESTIONS, ANSWERS), 3e-3)
    student.export(tmp_path, merged)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding_side="left")
    for question, completion in zip(QUESTIONS, student.answer(QUESTIONS, temperature=0, seed=0), strict=True):
        chat = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**ids, max_new_tokens=8, do_sample=False)
        assert (
            tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip() == completion.text
        )


def test_exporting_leaves_the_student_as_it_was(student: Student, tmp_path: Path) -> None:
    examples = student.examples(QUESTIONS, ANSWERS)
    student.update(examples, 3e-3)
    before = loss(student, examples[0])
    student.export(tmp_path, merged=True)
    assert loss(student, examples[0]) == before


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("tokenizer.json", "holds no tokenizer"),
        ("config.json", "config.json"),
        ("model.safetensors", "no .safetensors"),
    ],
)
def test_a_model_folder_without_a_part_is_refused_by_name(tmp_path: Path, remove: str, message: str) -> None:
    import shutil

    folder = Path(shutil.copytree(weights.FOLDER / "student", tmp_path / "model"))
    (folder / remove).unlink()
    with pytest.raises(UserError, match=rf"student\.model_path: .*model: .*{message}"):
        Student(StudentConfig(model_path=str(folder)), seed=0)


def test_damaged_weights_of_ones_own_are_refused_by_name(tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(weights.FOLDER / "student", tmp_path / "model"))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        Student(StudentConfig(model_path=str(folder)), seed=0)


def test_a_model_that_is_not_there_is_one_plain_line() -> None:
    with pytest.raises(UserError, match=r"student\.model_path: \./models/none: no such folder"):
        Student(StudentConfig(model_path="./models/none"), seed=0)
