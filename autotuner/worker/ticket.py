"""A request between the engine that answers it and the connection that waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.worker.answer import Answer, Piece
from autotuner.worker.messages import SamplingParams
from autotuner.worker.request_state import Arrival, RequestState


@dataclass(frozen=True)
class Ask:
    """A request that is fit to run."""

    id_prefix: str
    prompt_token_ids: list[int]
    sampling: SamplingParams
    stops: Sequence[str]
    arrival: Arrival


class Ticket:
    """A request in flight: its state, and the pieces that its reader has not taken yet."""

    def __init__(self, state: RequestState, answer: Answer) -> None:
        self.state, self.answer = state, answer
        self.deadline: asyncio.TimerHandle | None = None
        self._pieces: list[Piece] = []
        self._ready = asyncio.Event()

    def put(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._ready.set()

    async def whole(self) -> list[Piece]:
        """All pieces to the end, for who takes none before; the last one has the outcome."""
        pieces: list[Piece] = []
        while not pieces or pieces[-1].outcome is None:
            pieces += await self.take()
        return pieces

    async def take(self) -> list[Piece]:
        """All pieces since the last call, at least one; a request's last one has an outcome."""
        await self._ready.wait()
        self._ready.clear()
        pieces, self._pieces = self._pieces, []
        return pieces
