"""A powercap tree as the kernel makes it: folders `intel-rapl:N[:M]` with their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INTEL_RANGE_UJ = 262_143_328_850
AMD_RANGE_UJ = 65_532_610_987


@dataclass
class Tree:
    """Zones lie flat under `root`, as links do in /sys/class/powercap; counters can be moved."""

    root: Path

    def zone(
        self, zone: str, name: str, energy_uj: int = 0, range_uj: int = INTEL_RANGE_UJ
    ) -> Path:
        folder = self.root / zone
        folder.mkdir(parents=True)
        for file, text in (
            ("name", name), ("energy_uj", str(energy_uj)), ("max_energy_range_uj", str(range_uj)),
            ("enabled", "1"), ("constraint_0_name", "long_term"),
            ("constraint_0_power_limit_uw", "205000000"),
        ):  # fmt: skip
            (folder / file).write_text(f"{text}\n")
        return folder

    def add(self, zone: str, joules: float) -> None:
        """The counter goes on, and around at its end, as the processor's does."""
        file, end = self.root / zone / "energy_uj", self.root / zone / "max_energy_range_uj"
        moved = (int(file.read_text()) + round(joules * 1e6)) % int(end.read_text())
        new = file.with_name("energy_uj.new")  # whoever reads meanwhile sees the one or the other
        new.write_text(f"{moved}\n")
        new.replace(file)


def two_sockets(root: Path) -> Tree:
    """A server of two sockets with memory, as Intel's; all that must not count is there too."""
    tree = Tree(root)
    (root / "intel-rapl").mkdir(parents=True)  # the control type itself
    for socket in (0, 1):
        tree.zone(f"intel-rapl:{socket}", f"package-{socket}", (socket + 1) * 100_000_000)
        tree.zone(f"intel-rapl:{socket}:0", "core", 70_000_000)
        tree.zone(f"intel-rapl:{socket}:1", "uncore", 10_000_000)
        tree.zone(f"intel-rapl:{socket}:2", "dram", 5_000_000, AMD_RANGE_UJ)
        tree.zone(f"intel-rapl-mmio:{socket}", f"package-{socket}", 999_000_000)
    tree.zone("intel-rapl:2", "psys", 800_000_000)
    tree.zone("dtpm:0", "dtpm", 1)
    return tree
