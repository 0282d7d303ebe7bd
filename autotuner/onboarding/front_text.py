"""A first configuration of the proxy for a server that runs already, as commented YAML. Pure."""

from __future__ import annotations

import json

PORT = 9180  # the proxy's own default

_COMMANDS = {
    "vllm": ("vllm", "serve", "MODEL"),
    "sglang": ("python3", "-m", "sglang.launch_server", "--model-path", "MODEL"),
}
_SETTINGS = {
    "vllm": (
        ("max_num_seqs", "256"),
        ("max_num_batched_tokens", "8192"),
        ("gpu_memory_utilization", "0.92"),
    ),
    "sglang": (
        ("max_running_requests", "256"),
        ("chunked_prefill_size", "8192"),
        ("max_prefill_tokens", "16384"),
        ("mem_fraction_static", "0.86"),
        ("schedule_conservativeness", "1.0"),
    ),
}
_EXTRA = {"sglang": ', "--enable-metrics"'}


def front_text(url: str, kind: str, listen_port: int = PORT) -> str:
    """The proxy in front of the server at `url`, left as it is; below, how to hand it over."""
    command = ", ".join(json.dumps(word) for word in _COMMANDS[kind]) + _EXTRA.get(kind, "")
    settings = "".join(f"#     {name}: {value}\n" for name, value in _SETTINGS[kind])
    return f"""\
# Written by `autotuner init` for {url}. Every key: docs/proxy.md.
# Start it: autotuner proxy --config THIS_FILE
listen: {{host: 127.0.0.1, port: {listen_port}}}

# As it is: the server is left alone, and the proxy's own knobs (max_concurrency, max_queue) are
# tuned. Point your clients at the proxy.
engine:
  kind: {kind}
  url: {json.dumps(url)}

# To have the server's own flags tuned as well, the proxy has to start it. Stop the server, put this
# in place of the part above with your own command, and make the policy anew with `autotuner init`.
# Under `settings` stand the flags that may change, with what you run now; all others stay in
# `command`. With systemd or Kubernetes instead of a command: docs/how-to-{kind}.md.
# engine:
#   kind: {kind}
#   launcher:
#     kind: command
#     command: [{command}]
#     ports: [8001]
#   settings:
{settings}"""
