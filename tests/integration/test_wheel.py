"""What a user installs: one import name, with the policies, the agent and the migrations inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.mark.process
def test_the_wheel_holds_what_the_daemon_needs_and_no_second_name(tmp_path: Path) -> None:
    wheel = build(tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"autotuner"}
    for name in (
        "autotuner/deploy/systemd/autotuner.service",
        "autotuner/deploy/systemd/autotuner-worker@.service",
        "autotuner/deploy/systemd/autotuner-proxy.service",
        "autotuner/deploy/systemd/autotuner-proxy.socket",
        "autotuner/policies/default.yaml",
        "autotuner/policies/tables/hardware.yaml",
        "autotuner/policies/tables/models.yaml",
        "autotuner/policies/agents/ppo-v2.safetensors",
        "autotuner/policies/agents/ppo-v2.json",
        "autotuner/migrations/env.py",
        "autotuner/migrations/versions/0001_first.py",
        "autotuner/py.typed",
        "autotuner/web/pages/static/page.css",
        "autotuner/web/pages/static/page.js",
        "autotuner/web/pages/templates/fleet.html",
    ):
        assert name in names


@pytest.mark.process
def test_what_a_wheel_installs_sets_up_a_service_outside_a_checkout(tmp_path: Path) -> None:
    """With this environment's dependencies, and nothing of the checkout."""
    with zipfile.ZipFile(build(tmp_path)) as wheel:
        wheel.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def python(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path / "elsewhere", env=environment,
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(tmp_path / "site") in python("-c", "import autotuner; print(autotuner.__file__)")
    python("-m", "autotuner", "service", "install", "--prefix", str(tmp_path / "root"))
    unit = (tmp_path / "root/etc/systemd/system/autotuner.service").read_text()
    assert "WatchdogSec=" in unit
    config = tmp_path / "root/etc/autotuner/autotuner.yaml"
    assert "good; history at" in python("-m", "autotuner", "config", "check", str(config))
    python("-m", "autotuner", "service", "uninstall", "--prefix", str(tmp_path / "root"))
    assert not (tmp_path / "root/etc/systemd/system/autotuner.service").exists()
