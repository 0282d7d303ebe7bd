"""Length groups of prompts, and what padding a batch of them would cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence


def length_group(prompt_tokens: int) -> int:
    """The power-of-two bucket of a length of 1 or more: group g holds 2^(g-1) to 2^g - 1 tokens.

    It is the group that the schedule policy `length-grouped` orders by.
    """
    return prompt_tokens.bit_length()


def padding_ratio(lengths: Sequence[int]) -> float:
    """Padded tokens over real tokens if all were padded to the longest; 1 is no padding."""
    return len(lengths) * max(lengths) / sum(lengths)


def grouped_padding_ratio(lengths: Sequence[int]) -> float:
    """The same if each length group were a batch of its own; always below 2."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for length in lengths:
        groups[length_group(length)].append(length)
    padded = sum(len(group) * max(group) for group in groups.values())
    return padded / sum(lengths)
