"""What changes on an accelerator; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rl_distillation.config import StudentConfig
from rl_distillation.demo import domain
from rl_distillation.errors import UserError
from rl_distillation.models.loading import pick_device
from rl_distillation.models.student import Student

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"student\.device: cuda is not available"):
        pick_device("cuda")


@needs_cuda
def test_cuda_is_picked_learns_and_comes_back_from_a_snapshot(tmp_path: Path) -> None:
    student = Student(StudentConfig(max_new_tokens=8), seed=0)
    assert student.device.type == "cuda"
    pool = domain.pool()[:32]
    examples = student.examples([q.text for q in pool], [q.answer for q in pool])
    losses = [student.update(examples, 2e-3) for _ in range(20)]
    assert losses[-1] < losses[0] / 2
    student.save(tmp_path)
    other = Student(StudentConfig(max_new_tokens=8), seed=1)
    other.load(tmp_path)
    questions = [q.text for q in pool]
    assert other.answer(questions, temperature=0, seed=0) == student.answer(questions, temperature=0, seed=0)
