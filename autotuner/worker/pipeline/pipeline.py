"""The five stages in their order: validate, clean, tokenise, features, assemble."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.worker.chat_template import ChatTemplate
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.openai_schema import ChatBody, CompletionBody
from autotuner.worker.pipeline.assemble import answer_limit, assemble
from autotuner.worker.pipeline.feature_log import FeatureLog
from autotuner.worker.pipeline.features import FeatureRow, feature_row
from autotuner.worker.pipeline.lengths import grouped_padding_ratio, padding_ratio
from autotuner.worker.pipeline.lru import TokenLru
from autotuner.worker.pipeline.metrics import PipelineMetrics
from autotuner.worker.pipeline.options import PipelineOptions
from autotuner.worker.pipeline.pool import TextPool
from autotuner.worker.pipeline.prompt import Prompt, chars_of, cleaned, prompt_of
from autotuner.worker.pipeline.tokenise import Encodes, Tokenise
from autotuner.worker.pipeline.validate import Body, validate
from autotuner.worker.pipeline.waiting import WaitingPrompts
from autotuner.worker.request_state import Arrival
from autotuner.worker.ticket import Ask

# Work of at most about 1 ms, which the event loop can spare; the rest goes to a thread.
LONG_BODY_BYTES = 262_144
LONG_CLEAN_CHARS = 65_536


@dataclass(frozen=True)
class Call:
    """One of the two completion calls: the format of its bodies, and what its ids begin with."""

    body: type[Body]
    id_prefix: str


COMPLETION = Call(CompletionBody, "cmpl-")
CHAT = Call(ChatBody, "chatcmpl-")


@dataclass(frozen=True)
class Received:
    """A request as it came: its body, its `Content-Digest` (None without one), its arrival."""

    raw: bytes
    content_digest: str | None
    arrival: Arrival


@dataclass(frozen=True)
class Prepared:
    """A request that is fit to run, and how its answer is wanted."""

    ask: Ask
    stream: bool
    include_usage: bool


class Pipeline:
    """Must be used from one event loop; long texts go to threads of its own."""

    def __init__(
        self,
        model_name: str,
        tokenizer: Encodes,
        template: ChatTemplate,
        options: PipelineOptions,
        make: MetricMaker,
        features: FeatureLog,
    ) -> None:
        self._model_name, self._form = model_name, options.normal_form
        self._pool = TextPool(options.workers)
        cache = TokenLru(options.cache_entries, options.cache_tokens)
        self._metrics = PipelineMetrics(make, lambda: len(cache), lambda: cache.tokens)
        self._tokenise = Tokenise(tokenizer, template, cache, self._metrics, self._pool)
        self.features = features
        self.waiting = WaitingPrompts()

    async def run(self, call: Call, received: Received, max_model_len: int) -> Prepared:
        """A request fit to run within `max_model_len` tokens; raises ApiError 400 or 404."""
        with self._metrics.stage("validate"):
            body = await self._validated(call, received)
        with self._metrics.stage("clean"):
            prompt = await self._cleaned(prompt_of(body))
        with self._metrics.stage("tokenise"):
            ids = await self._tokenise.ids(prompt)
        with self._metrics.stage("features"):
            row = feature_row(body, len(ids), answer_limit(body, len(ids), max_model_len))
        with self._metrics.stage("assemble"):
            ask = assemble(call.id_prefix, body, ids, max_model_len, received.arrival)
            self._taken(row, ask)
        return Prepared(ask, body.stream, body.stream_options.include_usage)

    def close(self) -> None:
        """Ends the threads once they are done with what they work on."""
        self._pool.close()

    async def _validated(self, call: Call, received: Received) -> Body:
        return await self._pool.run(
            lambda: validate(call.body, received.raw, received.content_digest, self._model_name),
            is_long=len(received.raw) > LONG_BODY_BYTES,
        )

    async def _cleaned(self, prompt: Prompt) -> Prompt:
        return await self._pool.run(
            lambda: cleaned(prompt, self._form), is_long=chars_of(prompt) > LONG_CLEAN_CHARS
        )

    def _taken(self, row: FeatureRow, ask: Ask) -> None:
        """Only a request that fits counts as load."""
        self.features.append(row)
        lengths = [*self.waiting.lengths(), len(ask.prompt_token_ids)]
        self._metrics.padding(padding_ratio(lengths), grouped_padding_ratio(lengths))
