"""A request as a row of numbers, sparse: what an agent may learn load from. Pure.

The columns are a contract: whoever changes them raises FEATURES_VERSION.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from autotuner.worker.openai_schema import ChatBody, CompletionBody
from autotuner.worker.pipeline.lengths import length_group

FEATURES_VERSION = 1
FULL_LOG2 = 17  # chosen: 2^17 = 131,072 tokens, the longest usual context, is 1.0
GREATEST_TEMPERATURE = 2.0
LAST_GROUP = 18  # 2^17 tokens and more

_NUMBERS = ("prompt_tokens_log2", "max_tokens_log2", "temperature")
_ENDPOINTS = ("endpoint=completions", "endpoint=chat")
_STREAM = ("stream=no", "stream=yes")
_DRAWING = ("drawing=greedy", "drawing=sampled")
_GROUPS = (
    *(f"prompt_tokens={2 ** (g - 1)}..{2**g - 1}" for g in range(1, LAST_GROUP)),
    f"prompt_tokens={2 ** (LAST_GROUP - 1)}..",
)
COLUMNS: tuple[str, ...] = (*_NUMBERS, *_ENDPOINTS, *_STREAM, *_DRAWING, *_GROUPS)

_FIRST_ENDPOINT = len(_NUMBERS)
_FIRST_STREAM = _FIRST_ENDPOINT + len(_ENDPOINTS)
_FIRST_DRAWING = _FIRST_STREAM + len(_STREAM)
_FIRST_GROUP = _FIRST_DRAWING + len(_DRAWING)


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """The columns that are not 0: rising indices into COLUMNS, and their values (about 0 to 1)."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


def feature_row(body: CompletionBody | ChatBody, prompt_tokens: int, max_tokens: int) -> FeatureRow:
    """The row of a request; lengths in tokens, `max_tokens` what the answer may have at most."""
    numbers = (
        _log_scaled(prompt_tokens),
        _log_scaled(max_tokens),
        body.temperature / GREATEST_TEMPERATURE,
    )
    ones = (
        _FIRST_ENDPOINT + isinstance(body, ChatBody),
        _FIRST_STREAM + body.stream,
        _FIRST_DRAWING + (body.temperature > 0),
        _FIRST_GROUP + min(max(length_group(prompt_tokens), 1), LAST_GROUP) - 1,
    )
    given = [i for i, number in enumerate(numbers) if number]
    values = (*(numbers[i] for i in given), *(1.0 for _ in ones))
    return FeatureRow((*given, *ones), values)


def _log_scaled(tokens: int) -> float:
    return log2(1 + tokens) / FULL_LOG2
