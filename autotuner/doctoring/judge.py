"""From what was measured to findings. Pure: no clock, no file, no socket."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.version import Version

from autotuner.doctoring.finding import Finding, failed, warned, well
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.coarse import coarse_target
from autotuner.metrics.per_event import itl_doubt

GIB = 2**30
OLDEST, TOO_NEW = (3, 11), (3, 14)
SKEW_WARN_S, SKEW_FAIL_S = 2.0, 60.0  # chosen: a cycle's length; a slot's
DISK_WARN_BYTES, DISK_FAIL_BYTES = GIB, GIB // 10  # chosen: a year of one target's history; a day's
# Told by the requests themselves, whatever the metrics page has.
OF_REQUESTS = frozenset({"offered_rps", "attainment", "qps_stability"})


def python_version(found: tuple[int, int], text: str) -> Finding:
    """Whether this Python is one that autotuner is tested with."""
    if OLDEST <= found < TOO_NEW:
        return well("python", text)
    return failed("python", f"{text} is not supported", "install into Python 3.11, 3.12 or 3.13")


def packages(required: Sequence[Requirement], installed: Mapping[str, str | None]) -> list[Finding]:
    """One finding in all where everything fits, else one per package that does not.

    `installed`: version by name, None for what is absent.
    """
    found = [one for one in (_package(r, installed.get(r.name)) for r in required) if one]
    return found or [well("packages", f"{len(required)} packages, all of versions that fit")]


def _package(required: Requirement, version: str | None) -> Finding | None:
    pip = f"pip install {shlex.quote(f'{required.name}{required.specifier}')}"
    if version is None:
        return failed(f"package {required.name}", "not installed", pip)
    if required.specifier.contains(Version(version), prereleases=True):
        return None
    return warned(f"package {required.name}", f"{version} does not fit {required.specifier}", pip)


def optional(name: str, missing: Collection[str], needed_for: str, *, needed: bool) -> Finding:
    """Whether the packages of an extra are there; one that is not needed for sure only warns."""
    check = f"extra {name}"
    if not missing:
        return well(check, f"installed ({needed_for})")
    told = f"{', '.join(sorted(missing))} missing: needed for {needed_for}"
    fix = f"pip install 'autotuner[{name}]'"
    return failed(check, told, fix) if needed else warned(check, told, fix)


def history(there: bool, revision: str | None, pending: Sequence[str], shown: str) -> Finding:
    """Whether the history's tables are those of this version."""
    if not there:
        return well("history", f"{shown}: not there yet; made at the first start")
    if revision is None:
        return well("history", f"{shown}: empty; its tables are made at the first start")
    if pending:
        return warned(
            "history",
            f"{shown}: at revision {revision}, older than this version "
            f"({len(pending)} to come: {', '.join(pending)})",
            "the next start upgrades it: keep a backup, since older versions can't read it then",
        )
    return well("history", f"{shown}: writable, at revision {revision}")


def clock(target: str, skew_s: float, round_trip_s: float) -> Finding:
    """How far the target's clock is ahead of ours; the round trip is what can't be known."""
    check = f"clock {target}"
    told = f"{skew_s:+.2f} s (the answer took {round_trip_s:.2f} s)"
    sure_s = max(0.0, abs(skew_s) - round_trip_s / 2)
    fix = "run chrony or systemd-timesyncd on both machines"
    if sure_s > SKEW_FAIL_S:
        return failed(check, told, fix)
    return warned(check, told, fix) if sure_s > SKEW_WARN_S else well(check, told)


def rules(target: str, wanted: Mapping[str, str], series: Collection[str]) -> Finding:
    """Which alert rules see nothing. `wanted`: series by rule; `series`: those that there are."""
    check = f"rules {target}"
    known = frozenset(series) | OF_REQUESTS
    blind = {rule: name for rule, name in wanted.items() if name not in known}
    if not blind:
        return well(check, f"all {len(wanted)} rules have their series")
    named = ", ".join(f"{rule} ({name})" for rule, name in blind.items())
    return warned(
        check,
        f"{len(blind)} of {len(wanted)} rules are blind: {named}",
        "add a source under the target's metrics (docs/metrics.md), or take the rules out",
    )


def buckets(target: str, seen: Snapshot, targets_s: Mapping[str, float | None]) -> Finding | None:
    """That a promise falls into a bucket too wide to tell; None where all can be told.

    `targets_s`: the SLO's seconds by histogram.
    """
    blind = []
    for name, target_s in targets_s.items():
        histogram = seen.histograms.get(name)
        bucket = coarse_target(histogram, target_s) if histogram and target_s else None
        if bucket is not None:
            blind.append(f"{name} ≤ {target_s:g} s ({bucket})")
    if not blind:
        return None
    return warned(
        f"buckets {target}",
        f"the server's buckets are too wide to say what share meets {', '.join(blind)}; tests go "
        "by single requests, dashboards and queries of your own do not",
        "give the server finer buckets, or the SLO a bucket's edge: docs/metrics.md",
    )


def gaps(target: str, seen: Snapshot, watched: Collection[str]) -> Finding | None:
    """That inter-token latency is not per token; None where it is, or nobody knows.

    `watched`: what the policy looks at that goes by gaps.
    """
    doubt = itl_doubt(seen)
    if doubt is None:
        return None
    check = f"gaps {target}"
    if not watched:
        return well(check, doubt)
    return warned(
        check, f"{doubt}; the policy goes by {', '.join(watched)}", "use slo.tpot_s and tpot_s"
    )


def disk(where: str, free_bytes: int) -> Finding:
    """Whether there is room for what is written there."""
    check, told = f"disk {where}", f"{free_bytes / GIB:.1f} GiB free"
    fix = "free some, or put it elsewhere"
    if free_bytes < DISK_FAIL_BYTES:
        return failed(check, told, fix)
    return warned(check, told, fix) if free_bytes < DISK_WARN_BYTES else well(check, told)


def compiler(found: str | None) -> Finding:
    """Whether the bundled worker can compile its CPU operations."""
    if found:
        return well("compiler", f"{found} (for the bundled worker's CPU operations)")
    return warned(
        "compiler",
        "no C++ compiler: a bundled worker on this machine's CPU would be slower",
        "apt install g++, or name one in $CXX",
    )


@dataclass(frozen=True)
class PortState:
    """`free`: it can be taken. `ours`: an autotuner daemon answers there."""

    free: bool
    ours: bool = False
    problem: str = ""


def port(address: str, state: PortState) -> Finding:
    """Whether the daemon can listen, or does so already."""
    if state.free:
        return well("listen", f"{address} is free")
    if state.ours:
        return well("listen", f"{address}: an autotuner daemon answers there")
    return failed("listen", f"{address}: {state.problem}", "give another listen.port, or end it")


def unit(systemd: bool, found: Sequence[str]) -> Finding:
    """Whether the daemon is a service of this machine."""
    if found:
        return well("systemd", f"{', '.join(found)}")
    if not systemd:
        return well("systemd", "this machine is not run by systemd")
    return warned(
        "systemd",
        "no unit: the daemon ends with your session and does not come back after a reboot",
        "autotuner service install (docs/service.md)",
    )
