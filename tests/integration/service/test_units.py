"""The units as systemd itself judges them, without running it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from autotuner.commands.unit_files import UNITS
from autotuner.resources import resource_folder

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
# On a scale to 10. What is left for the daemon is the network that it needs; the worker, and a
# server that the proxy starts, also need devices and code made while it runs: the units say why.
EXPOSURE = {
    "autotuner.service": 1.2,
    "autotuner-worker@.service": 1.8,
    "autotuner-proxy.service": 1.8,
}


@pytest.fixture(params=UNITS)
def any_unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit, beside the others, with a program that exists here, which `verify` asks for."""
    return written(tmp_path, request.param)


@pytest.fixture(params=EXPOSURE)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return written(tmp_path, request.param)


def written(folder: Path, wanted: str) -> Path:
    for name in UNITS:
        text = (resource_folder("deploy/systemd") / name).read_text(encoding="utf-8")
        there = text.replace("/opt/autotuner/bin/autotuner", shutil.which("true") or "")
        (folder / name).write_text(there)
    return folder / wanted


def analyze(*words: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(any_unit: Path) -> None:
    assert any_unit.name not in analyze("verify", "--man=no", str(any_unit))


def test_every_service_is_judged() -> None:
    assert set(EXPOSURE) == {name for name in UNITS if name.endswith(".service")}


def test_the_exposure_is_low(unit: Path) -> None:
    limit = round(EXPOSURE[unit.name] * 10)  # systemd counts in tenths here
    words = ["--offline=true", f"--threshold={limit}", "--no-pager", str(unit)]
    analyze("security", *words)


def test_an_open_unit_would_not_pass(tmp_path: Path) -> None:
    """The limit above can fail."""
    path = tmp_path / "open.service"
    path.write_text("[Service]\nExecStart=/bin/true\n")
    words = ["security", "--offline=true", "--threshold=20", "--no-pager", str(path)]
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0


def test_the_exposure_is_made_of_what_the_unit_says(unit: Path) -> None:
    words = ["--offline=true", "--json=short", "--no-pager", str(unit)]
    judged = {one["name"]: one for one in json.loads(analyze("security", *words))}
    writable = judged["MemoryDenyWriteExecute="]["set"]
    assert writable is (unit.name == "autotuner.service")
