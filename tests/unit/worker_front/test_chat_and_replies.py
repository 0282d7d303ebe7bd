import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.fronts.errors import engine_gone
from autotuner.worker.answer import Piece
from autotuner.worker.chat_template import ChatTemplate, ChatTemplateError
from autotuner.worker.engine_client import Backoff
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.options import WorkerOptionError, WorkerOptions
from autotuner.worker.pipeline.options import PipelineOptions
from autotuner.worker.replies import EventWriter, Kind, Reply, usage_body

TURNS = [{"role": "user", "content": "hi"}]


def test_a_template_sees_the_turns_and_the_special_tokens() -> None:
    source = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    template = ChatTemplate(
        source + "{% if add_generation_prompt %}bot:{% endif %}", {"bos_token": "<s>"}
    )
    assert template.render(TURNS) == "<s>user: hi\nbot:"


def test_a_template_may_refuse() -> None:
    template = ChatTemplate("{{ raise_exception('no system turn') }}", {})
    with pytest.raises(ChatTemplateError, match="no system turn"):
        template.render(TURNS)


def test_a_template_gets_no_python() -> None:
    template = ChatTemplate("{{ messages.__class__.__mro__ }}", {})
    with pytest.raises(ChatTemplateError):
        template.render(TURNS)


def test_without_a_template_there_is_no_chat() -> None:
    with pytest.raises(ChatTemplateError, match="/v1/completions"):
        ChatTemplate(None, {}).render(TURNS)


def data(event: bytes) -> dict[str, Any]:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    body: dict[str, Any] = json.loads(event[6:])
    return body


def writer(kind: Kind, *, include_usage: bool = False) -> EventWriter:
    return EventWriter(Reply(kind, "id-1", 'm"1', 7), include_usage=include_usage)


@pytest.mark.parametrize("text", ["a", 'say "hi"\n', "日本 😀", "\x00text\x00", "\u2028"])
def test_every_text_survives_the_prepared_event(text: str) -> None:
    events = writer("text_completion")
    events.token(Piece("first"))
    assert data(events.token(Piece(text))) == {
        "id": "id-1",
        "object": "text_completion",
        "created": 7,
        "model": 'm"1',
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": None}],
    }


def test_the_first_event_of_a_chat_names_the_role_and_the_last_the_reason() -> None:
    events = writer("chat.completion")
    deltas = [
        data(events.token(piece))["choices"][0]
        for piece in (Piece("a"), Piece("b"), Piece("c", "length"))
    ]
    assert [choice["delta"] for choice in deltas] == [
        {"role": "assistant", "content": "a"},
        {"content": "b"},
        {"content": "c"},
    ]
    assert [choice["finish_reason"] for choice in deltas] == [None, None, "length"]


def test_usage_comes_only_when_asked_for() -> None:
    assert writer("chat.completion").usage(usage_body(1, 2)) == b""
    asked = writer("chat.completion", include_usage=True)
    assert data(asked.token(Piece("a")))["usage"] is None
    last = data(asked.usage(usage_body(1, 2)))
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 3)


def test_a_failure_in_a_stream_is_an_error_event() -> None:
    event = data(writer("chat.completion").error(Piece("", "error", engine_gone("it died"))))
    assert event["error"]["message"] == "it died"
    assert event["error"]["type"] == "server_error"


def test_restarts_wait_longer_and_longer_up_to_a_bound() -> None:
    backoff = Backoff(first_s=0.5, most_s=3.0)
    assert [backoff.delay_s(n) for n in (1, 2, 3, 4, 5000)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_an_open_worker_needs_a_token() -> None:
    engine = EngineOptions(model=Path("m"))
    with pytest.raises(WorkerOptionError, match=r"host='0\.0\.0\.0'.*--admin-token-file"):
        WorkerOptions(engine, host="0.0.0.0").check()
    WorkerOptions(engine, host="0.0.0.0", admin_token="t" * 16).check()
    WorkerOptions(engine).check()


def test_an_unknown_normal_form_is_refused() -> None:
    pipeline = PipelineOptions(normal_form="NFD")  # type: ignore[arg-type]
    with pytest.raises(WorkerOptionError, match="unicode-form='NFD': give one of none, NFC, NFKC"):
        WorkerOptions(EngineOptions(model=Path("m")), pipeline=pipeline).check()


def test_a_short_token_is_refused() -> None:
    with pytest.raises(WorkerOptionError, match="at least 16"):
        WorkerOptions(EngineOptions(model=Path("m")), admin_token="secret").check()
