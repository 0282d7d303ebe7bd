"""CPU memory in huge pages, where the system has them: megabytes are read with fewer page walks."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor

REGION_BYTES = 64 * 2**20


def huge_zeros(count: int, dtype: torch.dtype) -> Tensor:
    """`count` zeros, at least one, on pages that take memory only once written to."""
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype)


class Arena:
    """Keeps tensors of one dtype one behind the other, so that small ones share huge pages.

    A region's memory goes once none of its tensors is left.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._region = torch.empty(0, dtype=dtype)
        self._used = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """A copy of `tensor`, whose dtype is the arena's, in row-major order."""
        count = tensor.numel()
        if self._used + count > len(self._region):
            least = REGION_BYTES // tensor.dtype.itemsize
            self._region, self._used = huge_zeros(max(count, least), tensor.dtype), 0
        place = self._region[self._used : self._used + count].view(tensor.shape)
        self._used += count
        return place.copy_(tensor)
