"""A probe's requests take the way of any request through the front."""

from __future__ import annotations

import asyncio

import pytest

from autotuner.fronts.errors import ApiError
from autotuner.worker.messages import AddRequest, ScoreOutput, ScoreRequest, TokenOutput
from autotuner.worker.probe.live_model import FrontModel
from tests.unit.worker_front.test_front import House


async def _sent(house: House) -> AddRequest | ScoreRequest:
    while not house.engines.sent:
        await asyncio.sleep(0)
    return house.engines.sent[0]


async def _greedy(house: House, *tokens: TokenOutput) -> tuple[str, AddRequest]:
    answering = asyncio.create_task(FrontModel(house.front).greedy([1, 2], 5))
    sent = await _sent(house)
    assert isinstance(sent, AddRequest)
    for token in tokens:
        house.step(TokenOutput(sent.request_id, token.token_id, token.finish, error=token.error))
    return await answering, sent


def test_an_answer_is_drawn_greedily_and_marked_as_a_probe() -> None:
    house = House()
    last = TokenOutput("", ord("i"), "length")
    text, sent = asyncio.run(_greedy(house, TokenOutput("", ord("H")), last))
    assert text == "Hi"
    assert sent.request_id.startswith("probe-")
    assert (sent.prompt_token_ids, sent.sampling.max_tokens) == ([1, 2], 5)
    assert sent.sampling.temperature == 0.0
    assert house.outcomes() == ["length"]


def test_a_failed_answer_is_its_error() -> None:
    with pytest.raises(ApiError, match="broken"):
        asyncio.run(_greedy(House(), TokenOutput("", None, "error", error="broken")))


def test_an_answer_that_nobody_waits_for_is_aborted() -> None:
    house = House()

    async def give_up() -> None:
        answering = asyncio.create_task(FrontModel(house.front).greedy([1, 2], 5))
        await _sent(house)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)

    asyncio.run(give_up())
    assert len(house.engines.aborted) == 1


def test_scores_come_from_the_engine() -> None:
    house = House()

    async def score() -> ScoreOutput:
        scoring = asyncio.create_task(FrontModel(house.front).score([1, 2, 3], 2))
        sent = await _sent(house)
        assert isinstance(sent, ScoreRequest)
        assert (sent.token_ids, sent.first) == ([1, 2, 3], 2)
        house.front.on_score(ScoreOutput(sent.request_id, [-0.5], [3]))
        return await scoring

    scored = asyncio.run(score())
    assert (scored.log_probs, scored.most_likely) == ([-0.5], [3])
