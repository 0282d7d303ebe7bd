"""One history per test, on SQLite and, where its binaries are, on a private PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import psycopg
import pytest

from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    Look,
    Pair,
    Phase,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.knobs import Settings
from autotuner.history.engine import open_engine
from autotuner.history.store import History
from autotuner.history.upgrade import upgrade

BINARIES = Path("/usr/lib/postgresql/15/bin")
TARGET = "chat"
START = 1_764_000_000.0

Build = Callable[..., Experiment]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Path]:
    """The socket folder of a server that lives as long as the test run."""
    if not (BINARIES / "initdb").exists():
        pytest.skip(f"no PostgreSQL 15 binaries in {BINARIES}")
    # Not under pytest's own folder: its parents are closed to the user postgres.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)

    def call(*command: str) -> None:
        subprocess.run(
            [str(BINARIES / command[0]), *command[1:]],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    data = str(folder / "data")
    call("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    call("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", options)
    try:
        upgrade(_postgresql_url(folder, "template1"))
        yield folder
    finally:
        call("pg_ctl", "stop", "-m", "immediate", "-D", data)
        shutil.rmtree(folder)


def _postgresql_url(folder: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={folder}"


_numbers = count(1)


def new_database(folder: Path, template: str) -> str:
    name = f"history_{next(_numbers)}"
    with psycopg.connect(f"host={folder} user=postgres dbname=postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return _postgresql_url(folder, name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without a table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    return new_database(request.getfixturevalue("postgresql"), "template0")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "history.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with all tables and no row."""
    if request.param == "postgresql":
        return new_database(request.getfixturevalue("postgresql"), "template1")
    path = tmp_path / "history.sqlite3"
    shutil.copy(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def bare(url: str) -> Iterator[History]:
    """A history that knows no target."""
    history = History(open_engine(url))
    yield history
    history.close()


@pytest.fixture
def history(bare: History) -> History:
    """A history that knows the target `chat`."""
    bare.record_target(TARGET, kind="worker", url="http://127.0.0.1:8000", at=START)
    return bare


CONTROL = Settings({"max_num_seqs": 32, "schedule_policy": "fcfs", "memory_efficient": False})
TREATMENT = CONTROL.with_values(max_num_seqs=64)


def outcome(good: int) -> SlotOutcome:
    return SlotOutcome(
        requests=20,
        good=good,
        failed=1,
        straddlers=2,
        counted_s=50.0,
        ttft_p95_s=0.8,
        gap_p95_s=float("nan"),
        e2el_mean_s=2.5,
        prompt_tokens=2000,
        output_tokens=900,
    )


def _started(experiment_id: str, started_at: float) -> Experiment:
    return Experiment(
        id=experiment_id,
        target=TARGET,
        control=CONTROL,
        treatment=TREATMENT,
        plan=Plan(max_pairs=12),
        seed=2**62 + 7,
        started_at=started_at,
        proposer="ppo",
        rationale="the batch is full most of the time",
    )


def _with_pairs(experiment: Experiment, pairs: int) -> Experiment:
    slots, seen, looks = [], [], []
    for index in range(2 * pairs):
        at = experiment.started_at + 60.0 * index
        arm = Arm.TREATMENT if index % 2 else Arm.CONTROL
        good = 18 if arm is Arm.TREATMENT else 12
        slots.append(Slot(index, arm, index + 5, at, at + 5, at + 60, outcome(good)))
    for index in range(pairs):
        seen.append(Pair(index, 0.3, outcome(12), outcome(18)))
        bound = float("inf") if index == 0 else 0.4
        looks.append(Look(index + 1, 0.5 * index, -0.2, 0.1 * index, 0.3, -bound, bound))
    return replace(experiment, slots=tuple(slots), pairs=tuple(seen), looks=tuple(looks))


@pytest.fixture(scope="session")
def build() -> Build:
    """Makes experiments: `build(id, pairs=…, at=…, verdict=…)`; running without a verdict."""

    def made(
        experiment_id: str, pairs: int = 3, at: float = START, verdict: Verdict | None = None
    ) -> Experiment:
        washing = _started(experiment_id, at).to(Phase.WASHOUT)
        experiment = _with_pairs(washing, pairs).to(Phase.COUNTING)
        if verdict is None:
            return experiment
        figures = (0.3, 0.1, 0.5, 0.97) if pairs else (float("nan"),) * 4
        return experiment.closed(Conclusion(verdict, f"ended as {verdict}", pairs, *figures))

    return made
