import asyncio
import json
from threading import current_thread
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from autotuner.fronts.errors import ApiError
from autotuner.worker.chat_template import ChatTemplate
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.pipeline.feature_log import FeatureLog
from autotuner.worker.pipeline.metrics import STAGES, Stage
from autotuner.worker.pipeline.options import PipelineOptions
from autotuner.worker.pipeline.pipeline import CHAT, COMPLETION, Call, Pipeline, Prepared, Received
from autotuner.worker.request_state import Arrival, RequestState

ARRIVAL = Arrival(1.0, 2.0)
TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"


class Letters:
    """One token per character; remembers what it was asked and in which thread."""

    vocab_size = 1000

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.threads: set[str] = set()

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        self.asked.append((text, add_special_tokens))
        self.threads.add(current_thread().name)
        return [min(ord(letter), 999) for letter in text]


class House:
    def __init__(self, options: PipelineOptions | None = None) -> None:
        self.registry = CollectorRegistry()
        self.tokenizer = Letters()
        self.features = FeatureLog(lambda: 0.0)
        self.pipeline = Pipeline(
            "m",
            self.tokenizer,
            ChatTemplate(TEMPLATE, {}),
            options or PipelineOptions(),
            MetricMaker(self.registry, "m"),
            self.features,
        )

    def run(self, call: Call, **fields: Any) -> Prepared:
        received = Received(json.dumps(fields).encode(), None, ARRIVAL)
        try:
            return asyncio.run(self.pipeline.run(call, received, max_model_len=100_000))
        finally:
            self.pipeline.close()

    def refusal(self, call: Call, **fields: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.run(call, **fields)
        return caught.value

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"worker:{name}", {"model_name": "m", **labels})

    def per_stage(self, name: str) -> list[float | None]:
        return [self.value(name, stage=stage) for stage in STAGES]


def test_a_completion_goes_through_every_stage() -> None:
    house = House()
    prepared = house.run(COMPLETION, prompt="e\u0301\x00!", max_tokens=5, temperature=0)
    ask = prepared.ask
    assert house.tokenizer.asked == [("é!", True)]
    assert (ask.prompt_token_ids, ask.id_prefix, ask.arrival) == ([233, 33], "cmpl-", ARRIVAL)
    assert (ask.sampling.max_tokens, prepared.stream, prepared.include_usage) == (5, False, False)
    assert house.per_stage("pipeline_stage_seconds_count") == [1] * 5
    assert house.per_stage("pipeline_failures_total") == [0] * 5
    assert house.features.page(0, 10)["count"] == 1


def test_a_chat_is_cleaned_before_its_template_sees_it() -> None:
    house = House()
    turns = [{"role": "system", "content": "a\x00"}, {"role": "user", "content": "e\u0301"}]
    prepared = house.run(CHAT, messages=turns, stream=True, stream_options={"include_usage": True})
    assert house.tokenizer.asked == [("[system]a[user]é", False)]
    assert (prepared.ask.id_prefix, prepared.stream, prepared.include_usage) == (
        "chatcmpl-",
        True,
        True,
    )
    assert prepared.ask.sampling.max_tokens == 100_000 - len("[system]a[user]é")


def test_token_ids_pass_untouched() -> None:
    house = House()
    assert house.run(COMPLETION, prompt=[0, 7, 999]).ask.prompt_token_ids == [0, 7, 999]
    assert house.tokenizer.asked == []
    assert house.value("tokenizer_cache_queries_total") == 0
    error = house.refusal(COMPLETION, prompt=[5, 1000])
    assert (error.param, error.message[:12]) == ("prompt", "prompt=1000:")


def test_a_text_seen_before_is_not_tokenised_again() -> None:
    house = House()
    first = house.run(COMPLETION, prompt="same")
    first.ask.prompt_token_ids.append(1)
    again = house.run(COMPLETION, prompt="sa\x00me")
    assert again.ask.prompt_token_ids == [115, 97, 109, 101]
    assert len(house.tokenizer.asked) == 1
    assert house.value("tokenizer_cache_hits_total") == 1
    assert house.value("tokenizer_cache_queries_total") == 2
    assert house.value("tokenizer_cache_entries") == 1
    assert house.value("tokenizer_cache_tokens") == 4


def test_only_long_texts_leave_the_event_loop() -> None:
    house = House()
    house.run(COMPLETION, prompt="short")
    assert house.tokenizer.threads == {"MainThread"}
    long = House()
    long.run(COMPLETION, prompt="a " * 40_000)
    (name,) = long.tokenizer.threads
    assert name.startswith("pipeline")


@pytest.mark.parametrize(
    ("call", "fields", "stage"),
    [
        (COMPLETION, {"prompt": 5}, "validate"),
        (COMPLETION, {"prompt": "x", "model": "other"}, "validate"),
        (COMPLETION, {"prompt": [-1]}, "tokenise"),
        (COMPLETION, {"prompt": "\x00"}, "assemble"),
        (COMPLETION, {"prompt": "x", "max_tokens": 100_000}, "assemble"),
    ],
)
def test_a_refusal_is_counted_where_it_happened(
    call: Call, fields: dict[str, Any], stage: Stage
) -> None:
    house = House()
    house.refusal(call, **fields)
    assert house.per_stage("pipeline_failures_total") == [float(s == stage) for s in STAGES]
    reached = STAGES[: STAGES.index(stage) + 1]
    assert house.per_stage("pipeline_stage_seconds_count") == [float(s in reached) for s in STAGES]
    assert house.features.page(0, 10)["count"] == 0


def test_the_normal_form_is_the_operators() -> None:
    house = House(PipelineOptions(normal_form="none"))
    house.run(COMPLETION, prompt="e\u0301")
    assert house.tokenizer.asked == [("e\u0301", True)]


def test_padding_is_judged_over_all_that_waits() -> None:
    house = House()
    for name, tokens in (("a", 10), ("b", 300)):
        house.pipeline.waiting.enter(RequestState(name, tokens, 1, ARRIVAL))
    house.run(COMPLETION, prompt="x" * 290)
    assert house.value("padding_ratio_sum", grouping="none") == pytest.approx(900 / 600)
    assert house.value("padding_ratio_sum", grouping="length") == pytest.approx(610 / 600)
