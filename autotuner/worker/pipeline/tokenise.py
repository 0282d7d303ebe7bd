"""From a prompt to its token ids, by way of the chat template and the cache."""

from __future__ import annotations

from typing import Protocol

from autotuner.fronts.errors import ApiError, invalid
from autotuner.worker.chat_template import ChatTemplate, ChatTemplateError
from autotuner.worker.pipeline.lru import Key, TokenLru
from autotuner.worker.pipeline.pool import TextPool
from autotuner.worker.pipeline.prompt import Conversation, Prompt

LONG_TEXT_CHARS = 8192  # 1 to 2 ms of tokenising (measured), which the event loop can spare


class Encodes(Protocol):
    """A tokenizer; `encode` may be called from several threads at once."""

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...


class CacheCounts(Protocol):
    """Hears of every look into the cache."""

    def looked_up(self, *, hit: bool) -> None: ...


class Tokenise:
    """Knows the model's tokenizer and chat template."""

    def __init__(
        self,
        tokenizer: Encodes,
        template: ChatTemplate,
        cache: TokenLru,
        counts: CacheCounts,
        pool: TextPool,
    ) -> None:
        self._tokenizer, self._template = tokenizer, template
        self._cache, self._counts, self._pool = cache, counts, pool

    async def ids(self, prompt: Prompt) -> list[int]:
        """The token ids; of a conversation, open for the answer.

        Raises ApiError 400 for ids that the model does not have, and for a conversation that the
        template refuses.
        """
        if isinstance(prompt, str):
            return await self._encode(Key(prompt, add_special_tokens=True))
        if isinstance(prompt, Conversation):  # the template brings the special tokens
            return await self._encode(Key(self._render(prompt), add_special_tokens=False))
        self._check(prompt)
        return prompt

    async def _encode(self, key: Key) -> list[int]:
        found = self._cache.get(key)
        self._counts.looked_up(hit=found is not None)
        if found is not None:
            return found
        ids = await self._pool.run(
            lambda: self._tokenizer.encode(key.text, add_special_tokens=key.add_special_tokens),
            is_long=len(key.text) > LONG_TEXT_CHARS,
        )
        self._cache.put(key, ids)
        return ids

    def _render(self, conversation: Conversation) -> str:
        try:
            return self._template.render(conversation.turns)
        except ChatTemplateError as error:
            raise ApiError(400, f"messages: {error}", param="messages") from error

    def _check(self, ids: list[int]) -> None:
        unknown = next((i for i in ids if not 0 <= i < self._tokenizer.vocab_size), None)
        if unknown is not None:
            last = self._tokenizer.vocab_size - 1
            raise invalid("prompt", unknown, f"no such token: give ids from 0 to {last}")
