"""The batch sizes that decoding is padded to; pure."""

from __future__ import annotations

from autotuner.worker.settings import BatchSizes


def padded_rows(count: int, batch_sizes: BatchSizes, max_num_seqs: int) -> int:
    """Rows that `count` decoding sequences are padded to; 0 stays 0.

    `max_num_seqs` is a size too, so that nothing is padded beyond it; more sequences than that,
    which run on after it was lowered, are not padded.
    """
    if batch_sizes == "exact" or count == 0:
        return count
    power, multiple = 1 << (count - 1).bit_length(), -(-count // 8) * 8
    padded = power if batch_sizes == "powers-of-two" else multiple
    return min(padded, max(count, max_num_seqs))
