"""From a parsed body to a request that fits the model: token ids, lengths, sampling."""

from __future__ import annotations

import asyncio

from autotuner.worker.chat_template import ChatTemplate, ChatTemplateError
from autotuner.worker.errors import ApiError, invalid
from autotuner.worker.messages import SamplingParams
from autotuner.worker.openai_schema import ChatBody, CompletionBody
from autotuner.worker.request_state import Arrival
from autotuner.worker.ticket import Ask
from autotuner.worker.tokens import TextTokenizer

LONG_TEXT_CHARS = 8192  # chosen: about 1 ms of tokenising, which the event loop can spare


class Intake:
    """Knows the model's tokenizer and chat template."""

    def __init__(self, tokenizer: TextTokenizer, chat_template: ChatTemplate) -> None:
        self._tokenizer, self._chat_template = tokenizer, chat_template

    async def completion_ids(self, body: CompletionBody) -> list[int]:
        """The prompt's token ids; raises ApiError for ids that the model does not have."""
        if isinstance(body.prompt, str):
            return await self._encode(body.prompt, add_special_tokens=True)
        unknown = [i for i in body.prompt if not 0 <= i < self._tokenizer.vocab_size]
        if unknown:
            last = self._tokenizer.vocab_size - 1
            raise invalid("prompt", unknown[0], f"no such token: give ids from 0 to {last}")
        return body.prompt

    async def chat_ids(self, body: ChatBody) -> list[int]:
        """The conversation's token ids, open for the answer; the template brings special tokens."""
        try:
            text = self._chat_template.render(body.turns)
        except ChatTemplateError as error:
            raise ApiError(400, f"messages: {error}", param="messages") from error
        return await self._encode(text, add_special_tokens=False)

    async def _encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        if len(text) <= LONG_TEXT_CHARS:
            return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return await asyncio.to_thread(
            self._tokenizer.encode, text, add_special_tokens=add_special_tokens
        )


def plan(
    id_prefix: str,
    body: CompletionBody | ChatBody,
    prompt_ids: list[int],
    max_model_len: int,
    arrival: Arrival,
) -> Ask:
    """The request for the engine; raises ApiError 400 when it can't fit or can't be kept."""
    max_tokens = body.most_tokens or max(max_model_len - len(prompt_ids), 1)
    _check_lengths(len(prompt_ids), max_tokens, max_model_len)
    full_length = _always_full_length(body.min_tokens, max_tokens)
    sampling = SamplingParams(
        max_tokens=max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=max(body.top_k, 0),
        seed=body.seed,
        ignore_eos=body.ignore_eos or full_length,
    )
    return Ask(id_prefix, prompt_ids, sampling, () if full_length else tuple(body.stop), arrival)


def _check_lengths(prompt_tokens: int, max_tokens: int, max_model_len: int) -> None:
    if prompt_tokens == 0:
        raise ApiError(400, "prompt: no tokens: give at least one", param="prompt")
    if prompt_tokens + max_tokens > max_model_len:
        raise ApiError(
            400,
            f"prompt of {prompt_tokens} tokens and max_tokens={max_tokens} make "
            f"{prompt_tokens + max_tokens}: the context has {max_model_len}: "
            "shorten the prompt or lower max_tokens",
            param="max_tokens",
            code="context_length_exceeded",
        )


def _always_full_length(min_tokens: int, max_tokens: int) -> bool:
    """Whether the answer may not end early; any other least length is not supported."""
    if min_tokens not in (0, max_tokens):
        raise invalid(
            "min_tokens", min_tokens, f"not supported: give 0, or max_tokens ({max_tokens})"
        )
    return min_tokens == max_tokens
