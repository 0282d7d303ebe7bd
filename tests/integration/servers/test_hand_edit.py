"""A person restarts the server itself with other flags while a test runs: that is adopted."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from autotuner.domain.experiment import Verdict
from tests.integration.proxy_engines.units import stand_in_units
from tests.integration.servers.conftest import RATE_RPS, TOKENS, policy
from tests.integration.servers.fake_process import ROOT, command, free_port
from tests.integration.servers.front import Front
from tests.integration.servers.loop import Loop, verdict
from tests.integration.servers.traffic import traffic

pytestmark = pytest.mark.process


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of systemd units of the fake server, with stand-ins of both programs on PATH."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    scene = tmp_path / "front" / "scene.json"
    return stand_in_units(tmp_path, monkeypatch, shlex.join(command("vllm", scene)))


@pytest.fixture
def front(tmp_path: Path, units: Path) -> Iterator[Front]:
    launcher = {
        "kind": "systemd", "unit": "vllm@{port}.service", "ports": [free_port()],
        "environment_file": f"{units}/vllm@{{port}}.service.env",
    }  # fmt: skip
    made = Front(
        tmp_path / "front", "vllm", "in_place", {"max_num_seqs": 2}, {"launcher": launcher}
    )
    made.start()
    made.wait_serving()
    yield made
    made.end()
    for pid in made.pids():  # the unit outlives the proxy
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_other_flags_given_by_hand_end_the_test_and_are_adopted(
    front: Front, units: Path, tmp_path: Path
) -> None:
    told = policy("max_num_seqs", [2, 32, 64])
    told["experiment"]["slot_s"] = 600  # nothing but the edit ends it
    loop = Loop([front.url], tmp_path, told)
    loop.cycle()
    loop.declare(max_num_seqs=32)
    with traffic([front.url], RATE_RPS, TOKENS):
        loop.until(lambda: bool(loop.history.open_experiments("t")))
    [environment] = units.glob("*.env")
    environment.write_text('AUTOTUNER_FLAGS="--max-num-batched-tokens 2048 --max-num-seqs 64"\n')
    subprocess.run(["systemctl", "restart", environment.stem], check=True, timeout=60)
    test = loop.ended()
    assert verdict(test) is Verdict.ABORTED
    assert test.conclusion is not None
    assert "a person changed the settings to" in test.conclusion.reason
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings["max_num_seqs"] == 64
    for _ in range(20):  # and it stays
        loop.cycle()
    assert front.runs() == 64
    assert loop.history.incumbent("t") == incumbent
