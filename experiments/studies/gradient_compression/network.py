"""Nodes with limited bandwidth on one machine: network namespaces, joined by a bridge.

Made with `ip` and `tc`, which takes root's rights, and removed at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autotuner.domain.errors import ConfigError

INTERFACE, LOOPBACK = "eth0", "lo"  # of each node; of a machine without nodes
BURST_KB = 128  # chosen: above the 64 KB that the kernel hands over at once
QUEUE_MS = 100  # chosen
_CLONE_NEWNET = 0x40000000
_SYS_ADMIN = 1 << 21  # the capability's bit: namespaces and interfaces take it


class Network:
    """`nodes` namespaces, numbered from 0, that see each other and nothing else."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self._name = f"gc{os.getpid()}"

    def address(self, node: int) -> str:
        return f"10.213.7.{node + 1}"

    def namespace(self, node: int) -> str:
        return f"{self._name}-{node}"

    def limit(self, mbit_per_s: float | None) -> None:
        """Bounds what each node sends and what it receives; None: no bound."""
        for node in range(self.nodes):
            for where in (("ip", "netns", "exec", self.namespace(node)), ()):
                device = INTERFACE if where else self._outside(node)
                with contextlib.suppress(subprocess.CalledProcessError):  # there is none yet
                    _run(*where, *f"tc qdisc del root dev {device}".split())
                if mbit_per_s is not None:
                    bucket = f"tbf rate {mbit_per_s}mbit burst {BURST_KB}kb latency {QUEUE_MS}ms"
                    _run(*where, *f"tc qdisc add dev {device} root {bucket}".split())

    @contextmanager
    def made(self) -> Iterator[Network]:
        """There while this lasts; raises ConfigError where it can't be made."""
        why_not = what_is_missing()
        if why_not is not None:
            raise ConfigError(f"gradient_compression: {why_not}")
        try:
            _run(*f"ip link add {self._name} type bridge".split())
            _run(*f"ip link set {self._name} up".split())
            for node in range(self.nodes):
                self._make(node)
            yield self
        except subprocess.CalledProcessError as error:
            said = f"{' '.join(error.cmd)}: {error.stderr or error}"
            raise ConfigError(f"gradient_compression: {said.strip()}") from error
        finally:
            self._remove()

    def _remove(self) -> None:
        """Links first: those of a namespace would outlive it for a while, and hold their names."""
        links = [*map(self._outside, range(self.nodes)), self._name]
        spaces = map(self.namespace, range(self.nodes))
        for kind, names in (("link", links), ("netns", spaces)):
            for name in names:
                with contextlib.suppress(subprocess.CalledProcessError):
                    _run("ip", kind, "del", name)

    def _make(self, node: int) -> None:
        space, outside = self.namespace(node), self._outside(node)
        inside = f"ip -n {space}"
        for command in (
            f"ip netns add {space}",
            f"ip link add {outside} type veth peer name {INTERFACE} netns {space}",
            f"ip link set {outside} master {self._name} up",
            f"{inside} address add {self.address(node)}/24 dev {INTERFACE}",
            f"{inside} link set {INTERFACE} up",
            f"{inside} link set lo up",
        ):
            _run(*command.split())

    def _outside(self, node: int) -> str:
        return f"{self._name}v{node}"


def what_is_missing() -> str | None:
    """Why no network can be made here; None when one can."""
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"{program} is not installed: install iproute2"
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    held = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    if not held & _SYS_ADMIN:
        return "network namespaces need root's rights: run it as root"
    return None


def enter(namespace: str) -> None:
    """Moves this process into the namespace; raises OSError. For a process of one thread."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(descriptor)


def sent_bytes(interface: str) -> int:
    """What went out of the interface in this process's namespace, headers included."""
    for line in Path("/proc/self/net/dev").read_text(encoding="utf-8").splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == interface:
            return int(counters.split()[8])
    return 0


def _run(*command: str) -> Sequence[str]:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
