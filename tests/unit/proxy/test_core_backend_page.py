"""Which of a server's metrics stand on the proxy's page."""

from __future__ import annotations

from autotuner.proxy.backend_page import own_families

PAGE = """# HELP process_cpu_seconds_total Its own.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 3.0
# HELP vllm:num_requests_running Requests, in batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b"} 3.0
sglang:token_usage 0.5
proxy:settings_generation 4
# vllm:odd comment
# EOF
"""


def test_the_servers_own_families_stay_as_they_are() -> None:
    assert own_families(PAGE).splitlines() == [
        "# HELP vllm:num_requests_running Requests, in batches.",
        "# TYPE vllm:num_requests_running gauge",
        'vllm:num_requests_running{engine="0",model_name="a b"} 3.0',
        "sglang:token_usage 0.5",
    ]
