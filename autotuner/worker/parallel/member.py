"""One rank of a group: its part of the model, and what it does in a step."""

from __future__ import annotations

import torch
from torch import Tensor

from autotuner.worker.decoder import Batch
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.model_part import build_part
from autotuner.worker.parallel.grid import LEADER, Grid
from autotuner.worker.parallel.links import Links
from autotuner.worker.parallel.micro_batches import micro_batches, split_batch, to_device
from autotuner.worker.parallel.packing import Kind, kind_of, unpack_batch, unpack_blocks
from autotuner.worker.parallel.stores import Store


class Member:
    """A rank that has joined its group and loaded its part; `options` are its own."""

    def __init__(self, options: EngineOptions, rank: int, store: Store, memory: str | None) -> None:
        """`memory` is that of order.Meeting.

        Raises ModelError, and torch's RuntimeError when another rank never comes.
        """
        self._grid, self._rank = Grid.of(options.settings), rank
        self._device = torch.device(options.device)
        self._links = Links(self._grid, rank, store, self._device, memory)
        self._shard = self._grid.shard(rank, self._links.reduce)
        try:
            config = ModelConfig.from_folder(options.model)
            part = build_part(options, config, self._device, self._shard)
        except BaseException:
            self._links.leave(in_order=False)
            raise
        self._decoder, self._cache = part.decoder, part.cache
        self._hidden_size, self._vocab_size = config.hidden_size, config.vocab_size

    @property
    def weight_bytes(self) -> int:
        return self._decoder.weight_bytes

    @property
    def ops_name(self) -> str:
        return self._decoder.ops.name

    @torch.inference_mode()
    def obey(self, message: bytes) -> Tensor | None:
        """Does what the leader's message says: the leader's logits [len(logits_rows), vocab_size],
        and nothing on the other ranks.
        """
        if kind_of(message) is Kind.CLEAR:
            self._cache.clear(unpack_blocks(message))
            return None
        batch = unpack_batch(message)
        parts = micro_batches(len(batch.token_ids), self._grid.stages, self._device.type)
        return self._run(split_batch(batch, parts))

    def leave(self, *, in_order: bool) -> None:
        """Ends the membership. In order: every rank does so, after a step that went well."""
        self._links.leave(in_order=in_order)

    def _run(self, batches: list[Batch]) -> Tensor | None:
        outputs = [self._pass(to_device(batch, self._device)) for batch in batches]
        logits = self._logits(batches, outputs) if self._rank == LEADER else None
        self._links.settle()
        return logits

    def _pass(self, batch: Batch) -> Tensor:
        """One micro-batch through this stage, and on to whoever is next."""
        output = self._decoder.forward(batch, self._cache, self._hidden(batch))
        if not self._shard.is_last_stage:
            self._links.send_hidden(output)
        elif self._grid.stages > 1:
            self._links.send_logits(output)
        return output

    def _hidden(self, batch: Batch) -> Tensor | None:
        if self._shard.is_first_stage:
            return None
        return self._links.receive_hidden(self._empty(len(batch.token_ids), self._hidden_size))

    def _logits(self, batches: list[Batch], outputs: list[Tensor]) -> Tensor:
        if self._grid.stages == 1:
            return torch.cat(outputs) if len(outputs) > 1 else outputs[0]
        rows = [len(batch.logits_rows) for batch in batches]
        logits = self._empty(sum(rows), self._vocab_size)
        for part in torch.split(logits, rows):
            self._links.receive_logits(part)
        return logits

    def _empty(self, rows: int, width: int) -> Tensor:
        return torch.empty((rows, width), dtype=self._decoder.dtype, device=self._device)
