"""The command line of the worker: options in, exit status out."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from autotuner.worker.cpu_features import default_weight_dtype
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.front import FrontLimits
from autotuner.worker.model_config import ModelError
from autotuner.worker.observability import Buckets
from autotuner.worker.options import WorkerOptionError, WorkerOptions
from autotuner.worker.pipeline.clean import NormalForm
from autotuner.worker.pipeline.options import PipelineOptions
from autotuner.worker.probe.golden import GoldenError
from autotuner.worker.settings import CHOICES, WorkerSettings

TOKEN_VARIABLE = "AUTOTUNER_WORKER_ADMIN_TOKEN"  # noqa: S105
REFUSED = 2  # exit status of a command line that can't be run
ENGINE, SETTINGS = EngineOptions(model=Path()), WorkerSettings()
FRONT, PIPELINE = FrontLimits(), PipelineOptions()


def _either(knob: str) -> str:
    return f"Knob: {', '.join(CHOICES[knob])}."


def worker_command(
    model: Annotated[
        Path | None, typer.Option(help="Model folder (safetensors); default: the packaged SmolLM2.")
    ] = None,
    adapters: Annotated[
        Path | None,
        typer.Option(help="Folder of LoRA adapters of the model; each is a value of knob weights."),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Knob: base, or an adapter's name.")
    ] = SETTINGS.weights,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8000,
    admin_token_file: Annotated[
        Path | None, typer.Option(help=f"File with the admin token; else ${TOKEN_VARIABLE}.")
    ] = None,
    weight_dtype: Annotated[
        str, typer.Option(help=_either("weight_dtype") + " auto: the device's best.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda.")] = ENGINE.device,
    num_threads: Annotated[
        int, typer.Option(min=1, help="Knob: CPU threads of each process.")
    ] = SETTINGS.num_threads,
    tensor_parallel_size: Annotated[
        int, typer.Option(min=1, help="Knob: processes that split each layer.")
    ] = SETTINGS.tensor_parallel_size,
    pipeline_parallel_size: Annotated[
        int, typer.Option(min=1, help="Knob: processes that split the stack of layers.")
    ] = SETTINGS.pipeline_parallel_size,
    data_parallel_size: Annotated[
        int, typer.Option(min=1, help="Knob: replicas.")
    ] = SETTINGS.data_parallel_size,
    max_ranks: Annotated[
        int | None, typer.Option(min=1, help="Most processes of all replicas; else one per core.")
    ] = None,
    prefix_caching: Annotated[
        bool, typer.Option(help="Find again the K and V of prompts that start alike.")
    ] = ENGINE.prefix_caching,
    kv_cache_gib: Annotated[
        float, typer.Option(min=0.0001, help="Memory for the KV cache of a replica.")
    ] = ENGINE.kv_cache_gib,
    max_model_len: Annotated[
        int, typer.Option(min=2, help="Most tokens of prompt and answer together.")
    ] = ENGINE.max_model_len,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Waiting requests before new ones get 503.")
    ] = FRONT.max_queue,
    request_timeout_s: Annotated[
        float, typer.Option(min=0.1, help="Longest life of a request.")
    ] = FRONT.request_timeout_s,
    max_num_seqs: Annotated[
        int, typer.Option(min=1, help="Knob: batch size.")
    ] = SETTINGS.max_num_seqs,
    batch_timeout_ms: Annotated[
        int, typer.Option(min=0, help="Knob: wait to fill a batch.")
    ] = SETTINGS.batch_timeout_ms,
    max_num_batched_tokens: Annotated[
        int, typer.Option(min=16, help="Knob: token budget of a step.")
    ] = SETTINGS.max_num_batched_tokens,
    schedule_policy: Annotated[
        str, typer.Option(help=_either("schedule_policy"))
    ] = SETTINGS.schedule_policy,
    batch_sizes: Annotated[
        str, typer.Option(help=_either("batch_sizes") + " What decoding is padded to.")
    ] = SETTINGS.batch_sizes,
    memory_efficient: Annotated[
        bool, typer.Option(help="Knob: admit more than surely fits; preempt and recompute.")
    ] = SETTINGS.memory_efficient,
    attention: Annotated[str, typer.Option(help=_either("attention"))] = SETTINGS.attention,
    pipeline_workers: Annotated[
        int, typer.Option(min=1, help="Threads for long texts.")
    ] = PIPELINE.workers,
    unicode_form: Annotated[
        str, typer.Option(help="Normal form of texts: none, NFC or NFKC.")
    ] = PIPELINE.normal_form,
    slo_ttft_s: Annotated[
        float | None, typer.Option(min=0.0, help="SLO on the first token: becomes a bucket edge.")
    ] = None,
    slo_gap_s: Annotated[
        float | None, typer.Option(min=0.0, help="SLO on gaps: becomes a bucket edge.")
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(help="Golden prompts for the probe (JSONL); default: built-in.")
    ] = None,
    rebuild_timeout_s: Annotated[
        float, typer.Option(min=1.0, help="Longest time to build new engines for a rebuild knob.")
    ] = 300.0,
    drain_s: Annotated[
        float, typer.Option(min=1.0, help="At the end, time for running requests to finish.")
    ] = 30.0,
) -> None:
    """Serve a model over OpenAI's HTTP API, with knobs that change while it runs."""
    # They bring the web server and numpy, which no other command has a use for.
    from autotuner.worker.serve import serve
    from autotuner.worker.weights import resolve_model

    when = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "  # the journal has the time
    logging.basicConfig(level=logging.INFO, format=when + "%(levelname)s %(name)s: %(message)s")
    try:
        settings = _settings(
            max_num_seqs=max_num_seqs,
            batch_timeout_ms=batch_timeout_ms,
            batch_sizes=batch_sizes,
            max_num_batched_tokens=max_num_batched_tokens,
            memory_efficient=memory_efficient,
            schedule_policy=schedule_policy,
            attention=attention,
            weights=weights,
            weight_dtype=(default_weight_dtype(device) if weight_dtype == "auto" else weight_dtype),
            tensor_parallel_size=tensor_parallel_size,
            pipeline_parallel_size=pipeline_parallel_size,
            data_parallel_size=data_parallel_size,
            num_threads=num_threads,
        )
        options = WorkerOptions(
            engine=EngineOptions(
                model=resolve_model(model),
                adapters=adapters,
                device=device,
                kv_cache_gib=kv_cache_gib,
                max_model_len=max_model_len,
                max_ranks=max_ranks,
                prefix_caching=prefix_caching,
                settings=settings,
            ),
            host=host,
            port=port,
            admin_token=_admin_token(admin_token_file),
            pipeline=PipelineOptions(
                normal_form=cast(NormalForm, unicode_form), workers=pipeline_workers
            ),
            front=FrontLimits(max_queue=max_queue, request_timeout_s=request_timeout_s),
            buckets=Buckets().with_slos(slo_ttft_s, slo_gap_s),
            rebuild_timeout_s=rebuild_timeout_s,
            drain_s=drain_s,
            golden=golden,
        )
        status = serve(options)
    except (ModelError, GoldenError, WorkerOptionError, OSError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        fix = f": port {port} is taken: give another --port, or 0 for a free one" if taken else ""
        typer.echo(f"autotuner worker: {error}{fix}", err=True)
        raise typer.Exit(REFUSED) from error
    raise typer.Exit(status)


def _settings(**knobs: Any) -> WorkerSettings:
    """The start-up settings; ranges are checked once the engine tells its limits."""
    for name, choices in CHOICES.items():
        if knobs[name] not in choices:
            option = name.replace("_", "-")
            raise WorkerOptionError(f"{option}={knobs[name]!r}: give one of {', '.join(choices)}")
    return WorkerSettings(**knobs)


def _admin_token(file: Path | None) -> str | None:
    """From the file if one is named, else from the environment; an empty one counts as none."""
    token = os.environ.get(TOKEN_VARIABLE, "") if file is None else file.read_text(encoding="utf-8")
    if file is not None and not token.strip():
        raise WorkerOptionError(f"admin-token-file={str(file)!r}: empty: write a token into it")
    return token.strip() or None


def main() -> None:
    """`python -m autotuner.worker`."""
    typer.run(worker_command)
