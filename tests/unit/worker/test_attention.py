from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from autotuner.worker.attention import attend, plan_attention

SLOTS, KV_HEADS, GROUP, MAX_LEN, DIM = 12, 2, 3, 300, 16
CPU = torch.device("cpu")


def tensors(tokens: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    shape = (SLOTS, KV_HEADS, MAX_LEN, DIM)
    k, v = (torch.randn(shape, generator=source).to(dtype) for _ in range(2))
    return torch.randn(tokens, KV_HEADS * GROUP, DIM, generator=source).to(dtype), k, v


def expected(q: Tensor, k: Tensor, v: Tensor, slot: int, position: int) -> Tensor:
    """Attention of one token [heads, head_dim] over its slot up to its position, by definition."""
    heads = []
    for head, query in enumerate(q.double()):
        keys = k[slot, head // GROUP, : position + 1].double()
        values = v[slot, head // GROUP, : position + 1].double()
        weights = torch.softmax(keys @ query / math.sqrt(DIM), 0)
        heads.append(weights @ values)
    return torch.cat(heads).float()


SINGLES = {
    "alone": [(4, 30)],
    "equal": [(s, 50) for s in range(6)],
    "unequal": [(0, 9), (1, 50), (2, 1), (3, 44), (4, 50)],
    "holes": [(1, 40), (3, 35), (4, 50), (7, 2), (9, 33)],
    "two runs": [(0, 10), (1, 12), (2, 9), (3, 11), (10, 290), (11, 300)],
}


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=["f32", "bf16"]
)
@pytest.mark.parametrize("singles", SINGLES.values(), ids=SINGLES.keys())
def test_attention_is_what_its_definition_says(
    singles: list[tuple[int, int]], dtype: torch.dtype, tolerance: float
) -> None:
    chunks = [(5, 0, 7), (6, 20, 9)]
    rows = [(slot, length - 1) for slot, length in singles]
    rows += [(slot, start + i) for slot, start, tokens in chunks for i in range(tokens)]
    q, k, v = tensors(len(rows), dtype)
    out = attend(q, k, v, plan_attention(singles, chunks, dtype, CPU))
    truth = torch.stack([expected(q[i], k, v, *row) for i, row in enumerate(rows)])
    torch.testing.assert_close(out.float(), truth, atol=tolerance, rtol=0)
