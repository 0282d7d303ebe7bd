"""All rows played at once, many steps at a time, against engines that look at every request."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from autotuner.agent.des_cursors import CursorRun
from autotuner.agent.des_noise import BLOCK_STEPS, Factors, Noise
from autotuner.agent.des_rows import RowServer
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.stepmodel import Floats, Ints, StepModel
from autotuner.agent.traffic import ClassMix, TokenClass, Traffic, poisson_row

MIX = ClassMix((TokenClass(0.8, (1, 150), (1, 40)), TokenClass(0.2, (200, 900), (1, 90))))
ROWS = 24


@dataclass(frozen=True)
class Crowded:
    def extra_s(self, decoding: Ints, tokens: Ints) -> Floats:
        extra: Floats = 1e-4 * decoding * np.minimum(tokens / 64, 1.0) + 2e-5 * decoding**2
        return extra


def schedules(rng: np.random.Generator) -> ScheduleTable:
    return ScheduleTable.of(
        [
            Schedule(
                int(rng.choice([1, 2, 4, 8, 64])),
                float(rng.choice([0.0, 0.01, 0.3])),
                int(rng.choice([1, 16, 64, 128, 2048])),
                bool(rng.random() < 0.5),
            )
            for _ in range(ROWS)
        ]
    )


def servings(rng: np.random.Generator, noise: float, limited: bool) -> ServingTable:
    """Of which half have a limit of memory or patience, where asked for."""
    return ServingTable.of(
        [
            Serving(
                StepModel(6e-3, 0.4e-3, 0.3e-3, 4e-6, noise, pair_s=0.3e-6),
                kv_tokens=float(rng.uniform(1500, 9000)) if limited and row % 4 == 0 else np.inf,
                optimistic=bool(rng.random() < 0.5),
                window=float(rng.choice([np.inf, 7.0, 300.0])),
                prefix_share=float(rng.choice([0.0, 0.3, 0.95])),
                patience_s=float(rng.uniform(2, 40)) if limited and row % 4 == 2 else np.inf,
            )
            for row in range(ROWS)
        ]
    )


def agree(
    traffic: Traffic,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    limited: bool = False,
    cap_s: float = 1e6,
    max_waiting: float = np.inf,
) -> CursorRun:
    """Plays all rows, and those that no limit broke once more on engines; both traces as well."""
    table, served = schedules(rng), servings(rng, noise, limited)
    if noise > 0:  # it is drawn for an idle step of the cursors, which the engines do not have
        table = replace(table, batch_timeout_s=np.zeros(ROWS))
    draws, crowding = Noise(np.arange(ROWS) % 3, 1), Crowded()
    run = CursorRun(
        traffic, table, served, cap_s, draws, max_waiting=max_waiting, trace=True, crowding=crowding
    )
    run.run()
    told, steps = run.latencies(), run.trace()
    server = RowServer(
        traffic, table, served, cap_s, draws, max_waiting=max_waiting, trace=True, crowding=crowding
    )
    for row in np.flatnonzero(~run.broken).tolist():
        expected = server.serve(row)
        columns = (told.ttft_s, told.gap_max_s, told.tpot_s, told.e2el_s)
        got = np.stack([column[row] for column in columns])
        np.testing.assert_allclose(got, expected.times, atol=1e-9, err_msg=f"row {row}")
        assert expected.steps is not None
        times, sizes = (steps.step_s, steps.end_s), (steps.decode_seqs, steps.prefill_tokens)
        made_of = (*times, *sizes, steps.context_tokens, steps.running)
        # Where nothing else is to do the cursors go on to a request beyond the cap.
        begins_s = steps.end_s[:, row] - steps.step_s[:, row]
        ran = (steps.step_s[:, row] > 0) & (begins_s < cap_s)
        kept = np.stack([column[ran, row] for column in made_of])
        np.testing.assert_allclose(kept, expected.steps, atol=1e-9, err_msg=f"row {row}")
    return run


def streams(rng: np.random.Generator) -> Traffic:
    """From nearly idle to far too much."""
    rates = np.exp(rng.uniform(np.log(0.3), np.log(20.0), ROWS))
    return Traffic.stack([poisson_row(rng, rate, min(30 / rate, 10.0), MIX) for rate in rates])


@pytest.mark.parametrize("cap_s", [1e6, 4.0])
def test_streams_are_served_as_the_engines_serve_them(cap_s: float) -> None:
    rng = np.random.default_rng(5)
    run = agree(streams(rng), rng, cap_s=cap_s)
    assert not run.broken.any()


def test_a_backlog_meets_the_same_noise_step_by_step() -> None:
    rng = np.random.default_rng(6)
    drawn = [MIX.draw(rng, 40) for _ in range(ROWS)]
    run = agree(Traffic.stack([(np.zeros(40), *lengths) for lengths in drawn]), rng, noise=0.1)
    assert not run.broken.any()
    assert run.index.max() > 2 * BLOCK_STEPS


def test_rows_that_no_limit_broke_are_served_as_the_engines_serve_them() -> None:
    rng = np.random.default_rng(7)
    run = agree(streams(rng), rng, limited=True, max_waiting=12)
    assert 2 < run.broken.sum() < ROWS - 2


def test_how_far_a_stretch_looks_ahead_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(ahead: float) -> Floats:
        monkeypatch.setattr("autotuner.agent.des_cursors._AHEAD", ahead)
        rng = np.random.default_rng(8)
        traffic, table = streams(rng), schedules(rng)
        noise = Noise(np.zeros(ROWS, np.int64), 1)
        run = CursorRun(traffic, table, servings(rng, 0.1, False), 1e6, noise)
        run.run()
        return run.latencies().e2el_s

    np.testing.assert_array_equal(ends(0.0), ends(50.0))


def test_factors_are_those_of_each_rows_group_and_spread() -> None:
    noise = Noise(np.array([1, 0, 1]), 4)
    spread = np.array([0.1, 0.1, 0.3])
    steps = np.array([0, 5, BLOCK_STEPS + 2])
    found = Factors(noise, spread).at(np.arange(3), np.tile(steps, (3, 1)))
    for row, group in enumerate((1, 0, 1)):
        drawn = [noise.block(step // BLOCK_STEPS)[step % BLOCK_STEPS, group] for step in steps]
        expected = np.exp(spread[row] * np.array(drawn) - spread[row] ** 2 / 2)
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)
