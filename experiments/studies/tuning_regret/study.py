"""How many experiments does each proposer need? Regret of all of them on held-out systems.

The same start, noise and A/B gate for all; the truth has terms that the agent's model lacks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from autotuner.domain.ports import Proposer
from experiments.studies import _common
from experiments.studies.tuning_regret.figure import draw
from experiments.studies.tuning_regret.playing import play
from experiments.studies.tuning_regret.truth import NEAR, SPACE, held_out

SEED = 4100
BUDGET = 40
LOOKED_AT = (1, 2, 3, 5, 8, 12, 16, 24, 32, 40)
DEFAULT = "ppo"


@dataclass(frozen=True)
class Size:
    ordinary: int
    hard: int
    seeds: int
    budget: int
    methods: tuple[str, ...]


ALL = ("ppo", "ppo-tpe", "screened-random", "random", "grid", "hill-climb", "aimd", "tpe", "gp")
FULL = Size(ordinary=15, hard=15, seeds=5, budget=BUDGET, methods=ALL)
QUICK = Size(ordinary=1, hard=0, seeds=1, budget=3, methods=("ppo", "random", "hill-climb"))


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Plays all proposers, writes results.json and figure.png into `out`, returns the results."""
    size = QUICK if quick else FULL
    kinds = [False] * size.ordinary + [True] * size.hard
    played = _all_played(kinds, size)
    rows = [
        _row(method, kind, [r for r in played if r["method"] == method and _of(r, kind)])
        for kind in ("all", "ordinary", "hard")
        for method in size.methods
        if any(_of(r, kind) for r in played)
    ]
    results = _common.results(
        "tuning_regret",
        packages=("numpy", "scipy", "optuna", "stable-baselines3"),
        seeds=[SEED],
        rows=rows,
        checks=[] if quick else _checks(rows),
        quick=quick,
    )
    _common.write(out, results)
    draw(rows, out / "figure.png")
    return results


def proposers(methods: Sequence[str]) -> Mapping[str, Callable[[], Proposer]]:
    """Makers by name: each run begins with a fresh proposer, as a daemon does."""
    from autotuner.agent.baselines import screened_random
    from autotuner.bootstrap import build_proposer
    from autotuner.config.policy import Policy

    def by_policy(kind: str) -> Callable[[], Proposer]:
        told = {
            "name": "study",
            "slo": {"ttft_s": 1.0},
            "knobs": {knob.name: {"levels": list(knob.levels)} for knob in SPACE},
            "proposer": {"kind": kind},
        }
        policy = Policy.model_validate(told)
        return lambda: build_proposer(policy)

    return {m: screened_random if m == "screened-random" else by_policy(m) for m in methods}


def _all_played(kinds: Sequence[bool], size: Size) -> list[dict[str, Any]]:
    if len(kinds) == 1:
        return _on_system(0, kinds[0], size)
    played: list[dict[str, Any]] = []
    workers = max(1, (os.cpu_count() or 1))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_calm) as pool:
        runs = [pool.submit(_on_system, i, hard, size) for i, hard in enumerate(kinds)]
        for done, future in enumerate(as_completed(runs), start=1):
            played += future.result()
            print(f"{done} of {len(runs)} systems", flush=True)
    return played


def _calm() -> None:
    """One torch thread each: the processes use all cores already."""
    import torch

    torch.set_num_threads(1)


def _on_system(number: int, hard: bool, size: Size) -> list[dict[str, Any]]:
    system = held_out(SEED + number, hard)
    made = proposers(size.methods)
    return [
        {"system": number, "hard": hard, "method": method, "seed": seed, **asdict(result)}
        for method in size.methods
        for seed in range(size.seeds)
        for result in [play(made[method](), system, size.budget, 1000 * number + seed)]
    ]


def _of(played: Mapping[str, Any], kind: str) -> bool:
    return kind == "all" or played["hard"] == (kind == "hard")


def _row(method: str, kind: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "systems": kind, "runs": len(runs)}
    for what in ("incumbent", "tried"):
        table = np.array([run[what] for run in runs])
        for name, share in (("median", 0.5), ("q1", 0.25), ("q3", 0.75)):
            row[f"{what}_{name}"] = np.quantile(table, share, axis=0).round(4).tolist()
        row[f"{what}_mean"] = table.mean(axis=0).round(4).tolist()
    for what in ("experiments", "harmful", "accepted", "pairs", "lost", "forgone"):
        row[what] = round(float(np.mean([run[what] for run in runs])), 3)
    return row


def _checks(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    def of(kind: str) -> dict[str, Mapping[str, Any]]:
        return {row["method"]: row for row in rows if row["systems"] == kind}

    every, hard = of("all"), of("hard")
    own = every[DEFAULT]
    rivals = [m for m in every if m not in (DEFAULT, "ppo-tpe", "screened-random")]
    checks = []
    for what, words in (("tried", "best settings tried"), ("incumbent", "settings in force")):
        above = max(
            own[f"{what}_median"][k] - min(every[m][f"{what}_median"][k] for m in rivals)
            for k in range(1, BUDGET + 1)
        )
        name = f"median regret of the {words} above the best rival's, worst budget of 1 to {BUDGET}"
        checks.append(_common.check(name, round(above, 4), "points", 0.0, "at_most"))
        for k, target in ((5, 0.05), (24, 0.005)):
            value = hard[DEFAULT][f"{what}_median"][k]
            name = f"hard systems: median regret of the {words} after {k} experiments"
            checks.append(_common.check(name, value, "points", target, "at_most"))
    # A proposer that tries next to nothing does no harm either: it has to have found something.
    finders = [m for m in rivals if every[m]["incumbent_median"][BUDGET] <= NEAR]
    harm = own["harmful"] - min((every[m]["harmful"] for m in finders), default=0.0)
    name = "harmful experiments in a run, above the least of a rival that came near the best"
    checks.append(_common.check(name, round(harm, 3), "experiments", 0.0, "at_most"))
    forgone = own["forgone"] - min(every[m]["forgone"] for m in rivals)
    name = "goodput forgone in a run, above the least of any rival"
    checks.append(_common.check(name, round(forgone, 3), "points × slots", 0.0, "at_most"))
    return checks
