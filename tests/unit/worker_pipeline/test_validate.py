import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.fronts.errors import ApiError
from autotuner.worker.openai_schema import ChatBody, CompletionBody
from autotuner.worker.pipeline.surrogates import without_lone_surrogates
from autotuner.worker.pipeline.validate import validate


def completion(raw: bytes, digest: str | None = None) -> CompletionBody:
    body = validate(CompletionBody, raw, digest, "m")
    assert isinstance(body, CompletionBody)
    return body


@pytest.mark.parametrize(
    ("escaped", "kept"),
    [
        (rb"a\ud83db", "ab"),
        (rb"a\uDE00b", "ab"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\ud83d\ud83d\ude00\ude00", "😀"),
        (rb"\\ud83d", r"\ud83d"),
        (rb"\\\ud83d\"", '\\"'),
        (rb"\n\u00e9", "\né"),
    ],
)
def test_half_a_character_is_left_out_and_nothing_else(escaped: bytes, kept: str) -> None:
    assert completion(b'{"prompt": "' + escaped + b'"}').prompt == kept


@given(st.text(st.characters() | st.sampled_from('\\ud8de"\n'), max_size=30))
def test_a_text_loses_only_its_lone_halves(text: str) -> None:
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    cut = without_lone_surrogates(json.dumps(text).encode())
    assert json.loads(cut).encode() == whole.encode()


def test_other_broken_bodies_are_refused_as_ever() -> None:
    for raw in (b"{", rb'{"prompt": "\ud83d"', b'{"prompt": "\xed\xa0\x80"}'):
        with pytest.raises(ApiError) as caught:
            completion(raw)
        assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_the_digest_is_of_the_bytes_as_they_came() -> None:
    raw = json.dumps({"prompt": "x"}).encode()
    with pytest.raises(ApiError, match="Content-Digest") as caught:
        completion(raw, "sha-256=:AAAA:")
    assert caught.value.param == "Content-Digest"
    assert completion(raw, "md5=:AAAA:").prompt == "x"


def test_another_model_is_not_found_and_chats_are_read_too() -> None:
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "model": "other"}
    with pytest.raises(ApiError, match="model='other'"):
        validate(ChatBody, json.dumps(fields).encode(), None, "m")
    fields["model"] = "m"
    assert isinstance(validate(ChatBody, json.dumps(fields).encode(), None, "m"), ChatBody)
