"""What torchrun starts on every machine: `torchrun ... -m autotuner.worker.parallel.rank OPTIONS`.

The options are those of the worker, the same on all machines. Rank 0 is the worker; the others
are its hosts and read of the options only where model and adapters are. torch is imported late,
because the front of rank 0 does without it.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from autotuner.worker.command import main as run_worker
from autotuner.worker.parallel.errors import GroupError
from autotuner.worker.parallel.world import HOST_KEYS, OVER, UNDER_TORCHRUN, World
from autotuner.worker.weights import ModelError, resolve_model

REFUSED = 2  # exit status of what can't be run


def main() -> None:
    """Ends as the worker does, or with 2 for what can't be run."""
    try:
        world = World.from_environment()
        if world.rank == 0:
            _lead(world)
        else:
            _host(world, sys.argv[1:])
    except (GroupError, ModelError) as error:
        sys.stderr.write(f"autotuner worker: {error}\n")
        sys.exit(REFUSED)


def _lead(world: World) -> None:
    """The worker; its engines are told by the environment that there are hosts."""
    os.environ[UNDER_TORCHRUN] = "1"
    if not any(option.split("=")[0] == "--max-ranks" for option in sys.argv):
        sys.argv += ["--max-ranks", str(world.size)]
    try:
        run_worker()
    finally:
        from autotuner.worker.parallel.stores import join_store

        with suppress(RuntimeError):  # torchrun is gone, and the hosts with it
            join_store(world.meeting(HOST_KEYS)).set(OVER, "1")


def _host(world: World, options: list[str]) -> None:
    from autotuner.worker.parallel.host import Host
    from autotuner.worker.parallel.stores import join_store

    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--adapters", type=Path)
    places = parser.parse_known_args(options)[0]
    store = join_store(world.meeting(HOST_KEYS))
    Host(world, resolve_model(places.model), store, places.adapters).serve()


if __name__ == "__main__":
    main()
