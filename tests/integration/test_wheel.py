"""What a user installs: one import name, with the policies, the agent and the migrations inside."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_the_wheel_holds_what_the_daemon_needs_and_no_second_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"autotuner"}
    for name in (
        "autotuner/policies/default.yaml",
        "autotuner/policies/agents/ppo-v2.safetensors",
        "autotuner/policies/agents/ppo-v2.json",
        "autotuner/migrations/env.py",
        "autotuner/migrations/versions/0001_first.py",
        "autotuner/py.typed",
    ):
        assert name in names
