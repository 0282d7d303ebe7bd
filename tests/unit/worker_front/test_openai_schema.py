import json
from typing import Any

import pytest

from autotuner.fronts.bodies import parse
from autotuner.fronts.errors import ApiError
from autotuner.worker.openai_schema import ChatBody, CompletionBody, check_model
from autotuner.worker.pipeline.assemble import assemble
from autotuner.worker.request_state import Arrival

ARRIVAL = Arrival(0.0, 0.0)


def completion(**fields: Any) -> CompletionBody:
    return parse(CompletionBody, json.dumps({"prompt": "hi"} | fields).encode())


def chat(**fields: Any) -> ChatBody:
    messages = [{"role": "user", "content": "hi"}]
    return parse(ChatBody, json.dumps({"messages": messages} | fields).encode())


def refusal(call: Any, **fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(**fields)
    return caught.value


def test_defaults_are_openais() -> None:
    body = completion()
    assert (body.temperature, body.top_p, body.most_tokens) == (1.0, 1.0, 16)
    assert chat().most_tokens is None


@pytest.mark.parametrize("prompt", ["hi", ["hi"]])
def test_one_text_is_a_prompt(prompt: Any) -> None:
    assert completion(prompt=prompt).prompt == "hi"


@pytest.mark.parametrize("prompt", [[1, 2], [[1, 2]]])
def test_token_ids_are_a_prompt(prompt: Any) -> None:
    assert completion(prompt=prompt).prompt == [1, 2]


@pytest.mark.parametrize("prompt", [5, ["a", "b"], [1, "a"], [[1], [2]], [True], {}])
def test_other_prompts_are_refused(prompt: Any) -> None:
    error = refusal(completion, prompt=prompt)
    assert (error.status, error.param) == (400, "prompt")
    assert "list of token ids" in error.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("best_of", 3),
        ("echo", True),
        ("logprobs", 0),
        ("suffix", "end"),
        ("presence_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("tools", [{"type": "function"}]),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(field: str, value: Any) -> None:
    error = refusal(completion, **{field: value})
    assert (error.status, error.param) == (400, field)
    assert error.message.startswith(f"{field}={value!r}: not supported")


def test_neutral_values_of_unsupported_fields_pass() -> None:
    completion(n=1, best_of=1, echo=False, logprobs=None, presence_penalty=0.0, logit_bias={})


def test_unknown_fields_are_ignored_and_null_means_not_given() -> None:
    body = completion(user="u1", something_new={"a": 1}, temperature=None, stop=None, stream=None)
    assert (body.temperature, body.stop, body.stream) == (1.0, [], False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("temperature", 2.5),
        ("top_p", 0),
        ("top_k", -2),
        ("seed", 2**63),
        ("stop", ["s"] * 17),
        ("stop", ""),
        ("stream", "yes"),
        ("prompt", None),
    ],
)
def test_a_bad_value_is_named(field: str, value: Any) -> None:
    error = refusal(completion, **{field: value})
    assert error.status == 400
    assert error.param is not None
    assert error.param.startswith(field)
    assert error.message.startswith(field)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ApiError, match="prompt: missing") as caught:
        parse(CompletionBody, b"{}")
    assert caught.value.code == "missing_field"


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"null", b'"x"', b"\xff\xfe"])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse(CompletionBody, raw)
    assert (caught.value.status, caught.value.param) == (400, "body")


def test_stop_may_be_one_text_or_up_to_sixteen() -> None:
    assert completion(stop="x").stop == ["x"]
    assert len(completion(stop=["s"] * 16).stop) == 16


def test_content_may_be_text_or_parts_of_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = chat(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": parts}])
    assert body.turns == [{"role": "system", "content": "s"}, {"role": "user", "content": "ab"}]


def test_a_part_that_is_no_text_is_named_by_its_place() -> None:
    image = [{"type": "image_url", "image_url": {"url": "x"}}]
    error = refusal(chat, messages=[{"role": "user", "content": image}])
    assert error.param == "messages[0].content[0].type"


def test_no_messages_are_refused() -> None:
    assert refusal(chat, messages=[]).param == "messages"


def test_both_names_of_the_answers_length_work_but_not_against_each_other() -> None:
    assert chat(max_tokens=7).most_tokens == 7
    assert chat(max_completion_tokens=8).most_tokens == 8
    assert refusal(chat, max_tokens=7, max_completion_tokens=8).param == "max_completion_tokens"


def test_another_model_is_not_found() -> None:
    check_model(None, "m")
    check_model("m", "m")
    with pytest.raises(ApiError, match="model='x'") as caught:
        check_model("x", "m")
    assert caught.value.status == 404


def test_prompt_and_answer_must_fit_the_context() -> None:
    assert assemble("c-", completion(max_tokens=6), [1] * 4, 10, ARRIVAL).sampling.max_tokens == 6
    with pytest.raises(ApiError, match="prompt of 4 tokens and max_tokens=7 make 11") as caught:
        assemble("c-", completion(max_tokens=7), [1] * 4, 10, ARRIVAL)
    assert caught.value.code == "context_length_exceeded"


def test_a_chat_may_answer_up_to_the_room_left() -> None:
    assert assemble("c-", chat(), [1] * 4, 10, ARRIVAL).sampling.max_tokens == 6
    with pytest.raises(ApiError, match="prompt of 10 tokens"):
        assemble("c-", chat(), [1] * 10, 10, ARRIVAL)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ApiError, match="no tokens"):
        assemble("c-", completion(), [], 10, ARRIVAL)


def test_a_least_length_of_all_tokens_ignores_every_end() -> None:
    ask = assemble("c-", completion(max_tokens=6, min_tokens=6, stop="x"), [1], 10, ARRIVAL)
    assert (ask.sampling.ignore_eos, ask.stops) == (True, ())
    with pytest.raises(ApiError, match="min_tokens=3"):
        assemble("c-", completion(max_tokens=6, min_tokens=3), [1], 10, ARRIVAL)


def test_sampling_is_passed_on() -> None:
    body = completion(temperature=0, top_p=0.5, top_k=-1, seed=7, ignore_eos=True, stop="x")
    ask = assemble("c-", body, [1], 100, ARRIVAL)
    sampling = ask.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.0, 0.5, 0)
    assert (sampling.seed, sampling.ignore_eos, ask.stops) == (7, True, ("x",))
