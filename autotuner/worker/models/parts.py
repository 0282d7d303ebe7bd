"""From tensors by name to a rank's linear layers, and residual sums over ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from autotuner.worker.linear import Linear
from autotuner.worker.sharding import Shard
from autotuner.worker.weights import Tensors

ALL = slice(None)


class LinearFactory(Protocol):
    """Makes a layer of weight [out, in] and bias [out]; `inputs` is the part of the whole layer's
    inputs that the weight has, for what is known by input channel.
    """

    def __call__(self, name: str, weight: Tensor, bias: Tensor | None, inputs: slice) -> Linear: ...


class Source:
    """Tensors of a model folder as `dtype` on `device`, and the linear layers made of them.

    `nbytes` counts what was handed out, as it lies in memory.
    """

    def __init__(
        self,
        files: Tensors,
        dtype: torch.dtype,
        device: torch.device,
        linears: LinearFactory,
    ) -> None:
        self.dtype, self.device = dtype, device
        self.nbytes = 0
        self._files, self._linears = files, linears

    def tensor(self, name: str, rows: slice = ALL) -> Tensor:
        """A tensor that is used as it is; raises ModelError where there is none of this name."""
        tensor = self._get(name, rows)
        self.nbytes += tensor.nbytes
        return tensor

    def linear(
        self, name: str, weight: Tensor, bias: Tensor | None = None, inputs: slice = ALL
    ) -> Linear:
        linear = self._linears(name, weight, bias, inputs)
        self.nbytes += linear.nbytes
        return linear

    def whole(self, name: str) -> Linear:
        """A layer without bias, undivided."""
        return self.linear(name, self._get(f"{name}.weight"))

    def stacked(self, prefix: str, parts: dict[str, slice], *, bias: bool) -> Linear:
        """One layer of several that read the same input, each with its rows."""
        weight = torch.cat([self._get(f"{prefix}.{p}.weight", rows) for p, rows in parts.items()])
        biases = [self._get(f"{prefix}.{p}.bias", rows) for p, rows in parts.items() if bias]
        name = f"{prefix}.{'+'.join(parts)}"
        return self.linear(name, weight, torch.cat(biases) if bias else None)

    def columns(self, name: str, columns: slice, *, bias: bool) -> Linear:
        """A layer that reads its part of the inputs; its outputs are summed over the ranks."""
        weight = self._get(f"{name}.weight", ALL, columns)
        return self.linear(name, weight, self._get(f"{name}.bias") if bias else None, columns)

    def raw(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor to be worked on; what becomes of it counts where it is handed in."""
        return self._files.get(name).to(dtype or self.dtype).to(self.device)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def keep(self, tensor: Tensor) -> Tensor:
        """Counts a tensor that was made of raw ones."""
        self.nbytes += tensor.nbytes
        return tensor

    def _get(self, name: str, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        tensor = self._files.get(name)
        part = tensor[rows, columns] if tensor.dim() > 1 else tensor[rows]
        return part.to(self.dtype).contiguous().to(self.device)


class Residual:
    """Adds a layer's output to the residual stream, summed over the ranks that share it."""

    def __init__(self, linear: Linear, reduce: Callable[[Tensor], Tensor] | None) -> None:
        self.linear, self.reduce = linear, reduce

    def __call__(self, hidden: Tensor, x: Tensor) -> Tensor:
        if self.reduce is None:
            return self.linear.add_to(hidden, x)
        return hidden + self.reduce(self.linear(x))


def has_bias(shard: Shard, wanted: bool) -> bool:
    """Outputs that are summed over ranks take their bias once."""
    return wanted and shard.rank == 0
