"""Nested dataclasses of arrays, whose first axis is the environment, joined and written into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.stepmodel import Ints

T = TypeVar("T")
Change = Callable[[list[NDArray[Any]]], NDArray[Any]]


def join(parts: Sequence[T]) -> T:
    """The parts' environments one after the other."""
    return _map(parts[0], list(parts[1:]), np.concatenate)


def put(old: T, new: T, rows: Ints) -> T:
    """`old` with the environments `rows` replaced by `new`'s, which are as many."""

    def written(pair: list[NDArray[Any]]) -> NDArray[Any]:
        changed = pair[0].copy()
        changed[rows] = pair[1]
        return changed

    return _map(old, [new], written)


def _map(value: T, others: list[T], change: Change) -> T:
    """`value` rebuilt with `change([array, array, …])` at each leaf."""
    if is_dataclass(value):
        parts = {
            f.name: _map(getattr(value, f.name), [getattr(o, f.name) for o in others], change)
            for f in fields(value)
        }
        return replace(value, **parts)  # type: ignore[type-var]
    arrays: Any = [value, *others]
    result: Any = change(arrays)
    return result  # type: ignore[no-any-return]
