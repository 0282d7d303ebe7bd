"""RAPL on powercap trees in the kernel's format: what counts, and what is told when it can't."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autotuner.domain.energy import Meter, Stretch, total_j, used
from autotuner.domain.errors import TargetUnavailableError
from autotuner.metrics.rapl import RaplSource, domains_of
from tests.contract.metrics.powercap import AMD_RANGE_UJ, INTEL_RANGE_UJ, Tree, two_sockets


def meter(source: RaplSource) -> Meter:
    told = source.snapshot().energy["rapl"]
    assert told is not None
    return told


def test_two_sockets_with_their_memory_and_nothing_twice(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    told = meter(RaplSource(tmp_path))
    assert told.counters_j == {
        "package-0": 100.0, "package-0/dram": 5.0, "package-1": 200.0, "package-1/dram": 5.0,
    }  # fmt: skip
    assert told.ranges_j["package-1"] == pytest.approx(INTEL_RANGE_UJ / 1e6)
    assert told.ranges_j["package-1/dram"] == pytest.approx(AMD_RANGE_UJ / 1e6)
    assert not told.power_w


def test_dies_of_one_socket_and_amds_domains(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.zone("intel-rapl:10", "package-0-die-1", 2_000_000)
    tree.zone("intel-rapl:2", "package-0-die-0", 1_000_000)
    tree.zone("intel-rapl:2:0", "core", 500_000)
    assert [d.name for d in domains_of(tmp_path)] == ["package-0-die-0", "package-0-die-1"]


def test_a_socket_that_one_interface_alone_tells_is_not_lost(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.zone("intel-rapl-mmio:0", "package-0", 3_000_000)
    assert meter(RaplSource(tmp_path)).counters_j == {"package-0": 3.0}


def test_counters_go_on_over_their_end(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", AMD_RANGE_UJ - 1_000_000, AMD_RANGE_UJ)
    source = RaplSource(tmp_path)
    before = source.snapshot().energy
    tree.add("intel-rapl:0", 1500.0)
    assert int((tmp_path / "intel-rapl:0/energy_uj").read_text()) < AMD_RANGE_UJ / 2
    joules = total_j(used(before, source.snapshot().energy, Stretch.whole(10)))
    assert joules == pytest.approx(1500.0, abs=1e-3)


def test_a_domain_that_vanishes_is_told_until_it_is_back(tmp_path: Path) -> None:
    tree = two_sockets(tmp_path)
    source = RaplSource(tmp_path)
    source.snapshot()
    for gone in ("intel-rapl:1", "intel-rapl-mmio:1"):
        shutil.rmtree(tmp_path / gone)
    for _ in range(2):
        with pytest.raises(TargetUnavailableError, match="package-1, package-1/dram vanished"):
            source.snapshot()
    tree.zone("intel-rapl:1", "package-1", 300_000_000)
    assert meter(source).counters_j["package-1"] == 300.0


def test_a_counter_that_may_not_be_read_is_told_with_the_way_to_allow_it(tmp_path: Path) -> None:
    Tree(tmp_path).zone("intel-rapl:0", "package-0")

    class Refused(type(tmp_path)):  # type: ignore[misc]
        """A path of which all but the counter may be read; to root no file of ours is closed."""

        def read_text(self, *args: object, **more: object) -> str:
            if self.name == "energy_uj":
                raise PermissionError(13, "Permission denied", str(self))
            return str(super().read_text())

    with pytest.raises(TargetUnavailableError) as refused:
        RaplSource(Refused(tmp_path)).snapshot()
    told = str(refused.value)
    assert "intel-rapl:0/energy_uj: Permission denied" in told
    assert "since Linux 5.10" in told
    assert "docs/energy.md" in told


@pytest.mark.parametrize("there", [False, True])
def test_a_machine_without_counters_says_so(tmp_path: Path, there: bool) -> None:
    root = tmp_path / "powercap"
    if there:
        Tree(root).zone("intel-rapl:0", "psys")
        (root / "intel-rapl:1").symlink_to(root / "hidden")  # as a container hides it
    assert list(domains_of(root)) == []
    with pytest.raises(TargetUnavailableError, match="has no package domain"):
        RaplSource(root).snapshot()


def test_a_file_that_is_no_number_is_told(tmp_path: Path) -> None:
    folder = Tree(tmp_path).zone("intel-rapl:0", "package-0")
    (folder / "energy_uj").write_text("\n")
    with pytest.raises(TargetUnavailableError, match="energy_uj holds '', not a number"):
        RaplSource(tmp_path).snapshot()
