"""A teacher behind an OpenAI-compatible address, over real HTTP on loopback, and the key that must not be found."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import short

from rl_distillation.config import Config
from rl_distillation.demo import domain
from rl_distillation.errors import EndpointError
from rl_distillation.graph.run import new_run

KEY = "sk-planted-0123456789abcdef"


class Server(BaseHTTPRequestHandler):
    """Answers the demo domain's questions; a wrong key is refused in words that repeat it, as real servers do."""

    accepts = True
    seen: list[str] = []

    def do_POST(self) -> None:
        self.seen.append(self.headers["Authorization"])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][-1]["content"]
        answer = domain.truth(question) or '{"correct": false, "score": 0.0, "reason": "different"}'
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
        refusal = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
        data = json.dumps(reply if self.accepts else refusal).encode()
        self.send_response(200 if self.accepts else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """A short run whose teacher is the server, with its key in the environment."""
    monkeypatch.setenv("MY_KEY", KEY)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = short(episodes=1).model_dump()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    settings["teacher"] |= {"model_name": "openai:m", "base_url": address, "api_key": "${MY_KEY}"}
    yield Config.parse(settings)
    server.shutdown()
    server.server_close()


def files_with_the_key(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]


def test_a_run_with_a_key_leaves_it_in_no_file(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "accepts", True)
    questions = [{"question": q.text, "answer": q.answer} for q in domain.pool()[::150]]
    with new_run(tmp_path, "r", config, questions=questions) as run:
        for _ in run.steps():
            pass
        result = run.result()
    assert (result.status, result.teacher_accuracy) == ("finished", 1.0)
    assert result.tokens_in == 9 * (result.teacher_calls + result.judge_calls)
    assert f"Bearer {KEY}" in Server.seen  # it was used
    assert not files_with_the_key(tmp_path)


def test_a_refused_key_is_one_plain_line_without_the_key(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "accepts", False)
    with (
        pytest.raises(EndpointError, match=r"^teacher m: .*401") as error,
        new_run(tmp_path, "r", config, questions=["one?", "two?", "three?"]) as run,
    ):
        for _ in run.steps():
            pass
    assert KEY not in str(error.value) and "\n" not in str(error.value)
    assert not files_with_the_key(tmp_path)
    assert not list(tmp_path.iterdir())
