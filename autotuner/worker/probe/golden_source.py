"""Where a golden set comes from: its file in the cache folder, or a process that makes it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotuner.worker.model_cache import derived_path
from autotuner.worker.probe.golden import GoldenError
from autotuner.worker.probe.tokenise import GoldenAnswer, GoldenTokens

log = logging.getLogger(__name__)

FORMAT_VERSION = "1"
MAKER = "autotuner.worker.probe.reference"


@dataclass(frozen=True)
class GoldenSet:
    """Items to probe with. Of one `name`, which is made of them, are the same items only.
    `problem` tells why a newer file is not taken up.
    """

    name: str
    answers: tuple[GoldenAnswer, ...]
    problem: str | None = None


class GoldenSource:
    """`items` of `model`, with the float32 model's answers; kept in `cache`."""

    def __init__(
        self, model: Path, items: Sequence[GoldenTokens], cache: Path, max_model_len: int
    ) -> None:
        self._model, self._items, self._max_model_len = model, items, max_model_len
        self._asked = json.dumps([_asked(item) for item in items])
        self.path = derived_path(cache, model, "golden.json", FORMAT_VERSION, self._asked)
        self._answers: tuple[GoldenAnswer, ...] | None = None
        told = json.dumps([asdict(item) for item in items])
        self._name = hashlib.sha256(told.encode()).hexdigest()[:16]

    async def current(self) -> GoldenSet:
        """The set, as `answers` has it."""
        return GoldenSet(self._name, await self.answers())

    async def answers(self) -> tuple[GoldenAnswer, ...]:
        """The set; the first call for a model makes it (s to minutes). Raises GoldenError."""
        if self._answers is None:
            if not self.path.exists():
                await self._make()
            self._answers = self._read()
        return self._answers

    async def _make(self) -> None:
        log.info("the float32 model makes the golden set %s", self.path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MAKER),
            *(str(self._model), str(self._max_model_len), str(self.path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, told = await process.communicate(self._asked.encode())
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise GoldenError(f"the golden set can't be made: {_reason(process.returncode, told)}")

    def _read(self) -> tuple[GoldenAnswer, ...]:
        made: list[dict[str, Any]] = json.loads(self.path.read_text(encoding="utf-8"))
        return tuple(
            GoldenAnswer(
                item.prompt,
                tuple(answer["answer"]),
                tuple(answer["log_probs"]),
                item.expected,
                item.max_tokens,
            )
            for item, answer in zip(self._items, made, strict=True)
        )


def _reason(returncode: int, told: bytes) -> str:
    if returncode < 0:
        return f"signal {-returncode} ended its process; float32 weights may not fit into memory"
    lines = told.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {returncode}"


def _asked(item: GoldenTokens) -> dict[str, Any]:
    asked = asdict(item)
    del asked["expected"]  # the float32 model is not asked for it
    return asked
