"""The guard alone: it keeps the end of the log, tells the exit, and lets nothing stay."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from autotuner.proxy.engines.launchers.command import CommandLauncher, CommandOptions
from autotuner.proxy.engines.launchers.port import Exit, State
from autotuner.proxy.engines.launchers.processes import identity_of
from tests.integration.proxy_engines.conftest import run

pytestmark = pytest.mark.process

DEAF = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(3600)"]
other = subprocess.Popen(deaf, start_new_session=True)
print("pids", os.getpid(), other.pid, flush=True)
time.sleep(3600)
"""


def _launcher(folder: Path, program: str, log_bytes: int = 4 << 20) -> CommandLauncher:
    argv = (sys.executable, "-c", program)
    return CommandLauncher(CommandOptions(argv, (1,), folder, grace_s=0.2, log_bytes=log_bytes))


async def _ended(launcher: CommandLauncher) -> State:
    place = launcher.places()[0]
    async with asyncio.timeout(60):
        while (state := await launcher.state(place)).running:
            await asyncio.sleep(0.05)
    return state


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ("import sys; sys.exit(7)", Exit(status=7)),
        ("import os; os.kill(os.getpid(), 11)", Exit(signal=11)),
        ("pass", Exit(status=0)),
    ],
)
def test_the_exit_is_told(tmp_path: Path, program: str, ended: Exit) -> None:
    async def story() -> None:
        launcher = _launcher(tmp_path, program)
        await launcher.start(launcher.places()[0], [])
        assert (await _ended(launcher)).exit == ended
        await launcher.close()

    run(story())


def test_the_log_keeps_its_end_in_bounded_space(tmp_path: Path) -> None:
    async def story() -> None:
        program = "for n in range(20000): print('line', n, flush=True)"
        launcher = _launcher(tmp_path, program, log_bytes=8192)
        place = launcher.places()[0]
        await launcher.start(place, [])
        await _ended(launcher)
        lines = await launcher.log(place, None)
        assert lines[-1] == "line 19999"
        assert all(line.startswith("line ") for line in lines)
        # one read of the pipe may come on top before the file is cut
        assert (tmp_path / "server-1.log").stat().st_size <= 8192 + 65536
        await launcher.close()

    run(story())


def test_a_server_that_takes_no_sigterm_is_killed_with_what_it_started(tmp_path: Path) -> None:
    async def story() -> None:
        launcher = _launcher(tmp_path, DEAF)
        place = launcher.places()[0]
        await launcher.start(place, ["a word"])
        async with asyncio.timeout(60):
            while not (lines := await launcher.log(place, None)):
                await asyncio.sleep(0.05)
        pids = [int(word) for word in lines[0].split()[1:]]
        assert all(map(identity_of, pids))
        assert (await launcher.command_line(place))[-1] == "a word"
        await launcher.close()
        assert not any(map(identity_of, pids))
        await launcher.stop(place)  # once more: nothing to do

    run(story())
