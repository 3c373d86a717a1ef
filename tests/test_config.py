"""The configuration: what it accepts, how it complains, and what it never writes down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rl_distillation.config import Config, commented_yaml, expand, secret
from rl_distillation.errors import UserError

Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {reward_threshold: 1.8}", "config.yaml: training.reward_threshold: 1.8 is not between 0 and 1"),
        ("training: {reward_treshold: 0.5}", "config.yaml: training.reward_treshold: no such setting; did you mean"),
        ("trainig: {}", "config.yaml: trainig: no such setting; did you mean training?"),
        ("training: {num_episodes: many}", "config.yaml: training.num_episodes: 'many': should be a valid integer"),
        ("training: {num_episodes: 0}", "config.yaml: training.num_episodes: 0: should be greater than or equal to 1"),
        ("evaluation: {similarity_metric: rouge}", "'rouge' is not one of 'semantic', 'exact' or 'bleu'"),
        ("training: 5", "config.yaml: training: 5: "),
        ("- a list", "config.yaml: not a mapping"),
        ("a: [", "config.yaml: line 1: not valid YAML"),
    ],
)
def test_a_mistake_is_one_plain_line(write: Write, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        Config.load(write("config.yaml", text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        Config.load(tmp_path / "none.yaml")


@given(st.floats(allow_nan=True).filter(lambda x: not 0 <= x <= 1))
def test_no_threshold_outside_its_range_is_accepted(value: float) -> None:
    with pytest.raises(UserError, match=r"reward_threshold"):
        Config.parse({"training": {"reward_threshold": value}})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_data_gives_a_config_or_plain_lines(data: object) -> None:
    try:
        Config.parse(data)
    except UserError as error:
        assert "Traceback" not in str(error)


def test_the_promised_keys_exist(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    config = Config.load(
        write(
            "config.yaml",
            """
            teacher: {model_name: gpt-4, api_key: "${OPENAI_API_KEY}"}
            student: {model_path: ./tiny, learning_rate: 1e-4}
            training: {num_episodes: 7, batch_size: 4, reward_threshold: 0.7}
            evaluation: {similarity_metric: bleu}
            """,
        )
    )
    assert secret(config.teacher.api_key, "teacher.api_key", "X").get_secret_value() == "sk-planted"
    assert "sk-planted" not in config.to_yaml()
    assert "${OPENAI_API_KEY}" in config.to_yaml()


def test_a_literal_key_is_never_written_or_shown() -> None:
    config = Config.parse({"teacher": {"api_key": "sk-planted"}})
    assert "sk-planted" not in config.to_yaml() + repr(config) + str(config.model_dump(mode="json"))


def test_the_commented_config_is_the_default_config() -> None:
    assert Config.parse(yaml.safe_load(commented_yaml())) == Config()


def test_a_resolved_config_reads_back_the_same(write: Write) -> None:
    config = Config.parse({"training": {"seed": 3}, "questions": {"topics": ["rivers", 7]}})
    assert Config.load(write("config.yaml", config.to_yaml())) == config


def test_a_variable_is_read_when_needed_and_written_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.parse({"teacher": {"base_url": "https://me:${PASSWORD}@host"}})
    with pytest.raises(UserError, match=r"teacher\.base_url: the environment variable PASSWORD is not set"):
        expand(config.teacher.base_url or "", "teacher.base_url")
    monkeypatch.setenv("PASSWORD", "planted")
    assert expand(config.teacher.base_url or "", "teacher.base_url") == "https://me:planted@host"
    assert "planted" not in config.to_yaml()
