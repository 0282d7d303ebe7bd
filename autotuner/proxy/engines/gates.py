"""What a new server must pass before users' requests go to it: /health, then real completions.

A server can be healthy and still die of its first long prompt, or of its first full batch: memory
that is needed only then was never asked for. So the warm-up sends a short prompt, a long one, and
several long ones at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from autotuner.proxy.engines.client import Client, CompletionError, Reading

_READ_S = 10.0  # chosen
_WORD = "time "  # a token or so in every vocabulary
_SHORT = "The capital of France is"


@dataclass(frozen=True)
class WarmUp:
    """`requests` at once at the end; a long prompt has about `long_prompt_tokens` tokens."""

    requests: int = 4
    long_prompt_tokens: int = 512
    max_tokens: int = 16
    limit_s: float = 120.0


async def warm_up(client: Client, url: str, plan: WarmUp) -> Reading:
    """What the server tells of itself once it has completed all; raises CompletionError."""
    reading = await client.read(url, _READ_S)
    if not reading.model:
        raise CompletionError(f"{url}/v1/models names no model")
    long = _WORD * _long_words(plan, reading.max_model_len)
    try:
        async with asyncio.timeout(plan.limit_s):
            for prompt in (_SHORT, long):
                await client.complete(url, reading.model, prompt, plan.max_tokens, plan.limit_s)
            async with asyncio.TaskGroup() as group:
                for at in range(plan.requests):
                    # Other first words, or a prefix cache answers all but the first of them.
                    prompt = f"{at} {long}"
                    group.create_task(
                        client.complete(url, reading.model, prompt, plan.max_tokens, plan.limit_s)
                    )
    except TimeoutError as problem:
        raise CompletionError(f"the warm-up took longer than {plan.limit_s:.0f} s") from problem
    except BaseExceptionGroup as problems:
        raise _first(problems) from problems
    return reading


def _long_words(plan: WarmUp, max_model_len: int | None) -> int:
    """Room is left for the answer, and for a vocabulary that needs more tokens for a word."""
    if max_model_len is None:
        return plan.long_prompt_tokens
    return max(min(plan.long_prompt_tokens, (max_model_len - plan.max_tokens) // 2), 1)


def _first(problems: BaseExceptionGroup[BaseException]) -> BaseException:
    one = problems.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one
