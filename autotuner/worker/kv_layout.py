"""Numbers that the scheduler and attention share: the KV cache's blocks, how far each mode looks.

It must not import torch: the scheduler runs without it.
"""

from __future__ import annotations

BLOCK_TOKENS = 16  # tokens of a KV block; the granularity of prefix hits too
SCRATCH_BLOCK = 0  # never given to a sequence: padding rows write and read here
WINDOW_TOKENS = 1024  # sliding_window: a token sees itself and the 1,023 before it
TOP_KEYS = 32  # top_k: the keys that a query attends to


def block_count(tokens: int) -> int:
    """Blocks that hold this many tokens."""
    return -(-tokens // BLOCK_TOKENS)
