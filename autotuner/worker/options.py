"""What a worker is started with, and the start-up options that are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autotuner.fronts.loopback import is_loopback
from autotuner.worker.engine_client import Backoff
from autotuner.worker.engine_link import EngineTarget, run_model_engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.front import FrontLimits
from autotuner.worker.model_config import ModelError
from autotuner.worker.observability import Buckets
from autotuner.worker.pipeline.clean import NORMAL_FORMS
from autotuner.worker.pipeline.options import PipelineOptions

MIN_TOKEN_LENGTH = 16


class WorkerOptionError(ValueError):
    """A start-up option that can't be; the message names it, its value and the fix."""


@dataclass(frozen=True)
class WorkerOptions:
    """`port` 0 takes a free one. `drain_s` bounds how long running requests may still take at the
    end, `apply_timeout_s` how long a live change of settings may take (it waits for the step that
    runs), `rebuild_timeout_s` one that takes new engines. `group_drain_s` bounds how long the
    engines before those may take to finish their requests: None is the longest life of a request.
    `golden` is a file of golden prompts for the probe; None is the built-in ones.
    `engine_target` is the engine's main function: importable, as it runs in a new process.
    """

    engine: EngineOptions
    host: str = "127.0.0.1"
    port: int = 8000
    admin_token: str | None = None
    front: FrontLimits = field(default_factory=FrontLimits)
    buckets: Buckets = field(default_factory=Buckets)
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    backoff: Backoff = field(default_factory=Backoff)
    max_body_bytes: int = 4 * 2**20
    drain_s: float = 30.0
    engine_grace_s: float = 5.0
    apply_timeout_s: float = 30.0
    rebuild_timeout_s: float = 300.0
    group_drain_s: float | None = None
    golden: Path | None = None
    engine_target: EngineTarget = run_model_engine

    def check(self) -> None:
        """Raises WorkerOptionError for an admin API that anyone could reach, a weak token, a
        Unicode form or a folder of adapters that there is not.
        """
        self._check_adapters()
        if self.admin_token is not None and len(self.admin_token) < MIN_TOKEN_LENGTH:
            raise WorkerOptionError(
                f"admin token: {len(self.admin_token)} characters are too few: "
                f"give at least {MIN_TOKEN_LENGTH}, as `openssl rand -hex 32` makes them"
            )
        if self.pipeline.normal_form not in NORMAL_FORMS:
            raise WorkerOptionError(
                f"unicode-form={self.pipeline.normal_form!r}: give one of {', '.join(NORMAL_FORMS)}"
            )
        if self.admin_token is None and not is_loopback(self.host):
            raise WorkerOptionError(
                f"host={self.host!r}: others could change the settings: set an admin token "
                "(--admin-token-file or AUTOTUNER_WORKER_ADMIN_TOKEN), or listen on 127.0.0.1"
            )

    def _check_adapters(self) -> None:
        folder = self.engine.adapters
        if folder is not None and not folder.is_dir():
            raise WorkerOptionError(
                f"adapters={str(folder)!r}: no such folder: create it; it may be empty"
            )
        try:
            _ = self.engine.adapter
        except ModelError as error:
            raise WorkerOptionError(str(error)) from None
