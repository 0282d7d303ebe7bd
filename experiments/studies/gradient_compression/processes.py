"""The processes of each run, forked into the namespaces of their nodes: `python -m … JOBS`.

JOBS is a JSON file; what each process saw after each update is written beside its run. torch is
imported once, before the first fork.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.run_folder import RunFolder
from experiments.studies.gradient_compression.network import INTERFACE, LOOPBACK, enter, sent_bytes

SECONDS = ("step_s", "gradient_update_s")


def main(jobs: list[dict[str, Any]]) -> int:
    """Exit status: of the first run that fails."""
    import peft  # noqa: F401
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401

    torch.set_num_threads(1)
    for job in jobs:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        children = [fork(job, rank, port) for rank in range(len(job["namespaces"]))]
        statuses = [os.waitpid(child, 0)[1] for child in children]
        if any(statuses):
            return 1
    return 0


def fork(job: Mapping[str, Any], rank: int, port: int) -> int:
    """Starts one process of a run; its id."""
    child = os.fork()
    if child:
        return child
    try:
        run(job, rank, port)
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


def run(job: Mapping[str, Any], rank: int, port: int) -> None:
    from autotuner.finetune.training.rank import run_rank

    namespace = job["namespaces"][rank]
    interface = LOOPBACK if namespace is None else INTERFACE
    if namespace is not None:
        enter(namespace)
    os.environ |= {
        "GLOO_SOCKET_IFNAME": interface,
        "RANK": str(rank),
        "LOCAL_RANK": "0",
        "WORLD_SIZE": str(len(job["namespaces"])),
        "MASTER_ADDR": job["address"],
        "MASTER_PORT": str(port),
    }
    seen: list[dict[str, float]] = []

    def note(item: Progress) -> None:
        times = {name: getattr(item, name) for name in SECONDS}
        seen.append({"sent_bytes": sent_bytes(interface), **times})

    folder = RunFolder(Path(job["folder"]))
    run_rank(folder, note)
    (folder.path / f"seen{rank}.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
