"""The last stage: lengths checked, sampling chosen, a request that the engine can run. Pure."""

from __future__ import annotations

from autotuner.fronts.errors import ApiError, invalid
from autotuner.worker.messages import SamplingParams
from autotuner.worker.openai_schema import ChatBody, CompletionBody
from autotuner.worker.request_state import Arrival
from autotuner.worker.ticket import Ask


def answer_limit(body: CompletionBody | ChatBody, prompt_tokens: int, max_model_len: int) -> int:
    """The most tokens to answer with: as asked for, or all that the context has room for."""
    return body.most_tokens or max(max_model_len - prompt_tokens, 1)


def assemble(
    id_prefix: str,
    body: CompletionBody | ChatBody,
    prompt_ids: list[int],
    max_model_len: int,
    arrival: Arrival,
) -> Ask:
    """The request for the engine; raises ApiError 400 when it can't fit or can't be kept."""
    max_tokens = answer_limit(body, len(prompt_ids), max_model_len)
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
