"""The live model as a probe asks it: through the front, like any request."""

from __future__ import annotations

from autotuner.worker.front import Front
from autotuner.worker.messages import SamplingParams, ScoreOutput
from autotuner.worker.ticket import Ask

ID_PREFIX = "probe-"  # tells a probe's requests from users' in the exposure log


class FrontModel:
    """See `service.LiveModel`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def score(self, token_ids: list[int], first: int) -> ScoreOutput:
        scored: ScoreOutput = await self._front.score(token_ids, first)
        return scored

    async def greedy(self, prompt_token_ids: list[int], max_tokens: int) -> str:
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0)
        arrival = self._front.clocks.arrival()
        ticket = self._front.submit(Ask(ID_PREFIX, prompt_token_ids, sampling, (), arrival))
        try:
            pieces = await ticket.whole()
        finally:
            self._front.release(ticket)
        if (error := pieces[-1].error) is not None:
            raise error
        return "".join(piece.text for piece in pieces)
