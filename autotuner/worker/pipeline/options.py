"""What the request pipeline is started with."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.worker.pipeline.clean import NormalForm


@dataclass(frozen=True)
class PipelineOptions:
    """`workers` threads take the long texts. A cached token takes 4 bytes, and its text about 4.

    The cache's defaults are chosen: some thousands of the prompts that a service repeats (system
    prompts, probes, retries) within a few megabytes.
    """

    normal_form: NormalForm = "NFC"
    workers: int = 2
    cache_entries: int = 4096
    cache_tokens: int = 1_000_000
