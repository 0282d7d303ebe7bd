"""How changes are proven, as YAML: the part of a policy that goes by what a change takes. Pure."""

from __future__ import annotations


def testing_text(*, quick: bool, proxied: bool, restarts: bool) -> str:
    """The keys `experiment` and `proposer`, and `forecast` for quick ones.

    `proxied`: the target is a proxy, which logs no steps and has no golden answers. `restarts`:
    some knobs restart its server.
    """
    if quick:
        pairs = _MANY_PAIRS if restarts else _FEW_PAIRS
        return f"{_QUICK}{pairs}proposer:\n  kind: {'tpe' if proxied else 'ppo'}\n{_QUICK_REST}"
    if not proxied:
        return _WORKER
    return (_RESTARTS if restarts else _LIVE) + _PROXIED


_QUICK = """\
# --quick-tests: short slots, so that a first test ends in minutes. Few requests fall into a slot:
# only large effects are found. Run `init` without it for a service that matters.
# A test that restarts the server gets longer slots by itself, though of three restarts only.
experiment:
  slot_s: 12
  washout_min_s: 1
  washout_max_s: 4
  cooldown_s: 2
  min_requests_per_slot: 4
  slot_restarts: 3
  prior_sd: 0.2
  confidence: 0.95
"""
_FEW_PAIRS = "  max_pairs: 20\n"
_MANY_PAIRS = "  max_pairs: 240 # 96 min: enough for a test with restarts of half a minute\n"
_QUICK_REST = """\
  observe_s: 40
  min_requests: 10
  pause_s: 10
  retry_s: 20
forecast: {bucket_s: 10, horizon_s: 300, refit_s: 300}
"""
_WORKER = """\
# How a change is proven: pairs of slots, one per arm, in an order drawn by a coin.
experiment:
  slot_s: 60
  washout_min_s: 5
  washout_max_s: 30
  cooldown_s: 6
  max_pairs: 30
  confidence: 0.95
  # What must not get worse meanwhile.
  guardrails:
    - {measure: error_share, margin: 0.02, prior_sd: 0.02}
    - {measure: quality, margin: 0.05, prior_sd: 0.05}
proposer:
  kind: ppo
"""
_RESTARTS = """\
# How a change is proven: pairs of slots, one per arm, in an order drawn by a coin. These are the
# slots of live knobs; a test that restarts the server gets slots of at least ten restarts. Both
# have a budget of 2 * max_pairs * slot_s, 8 h here: enough for restarts of 3 min.
experiment:
  slot_s: 120
  washout_min_s: 10
  washout_max_s: 60
  cooldown_s: 15
  max_pairs: 120
"""
_LIVE = """\
# How a change is proven: pairs of slots, one per arm, in an order drawn by a coin.
experiment:
  slot_s: 60
  washout_min_s: 5
  washout_max_s: 30
  cooldown_s: 6
  max_pairs: 30
"""
_PROXIED = """\
  confidence: 0.95
  # What must not get worse meanwhile. There is no `quality`: the proxy has no golden answers, so
  # that knobs which change answers (kv_cache_dtype, quantization) had better stay out.
  guardrails:
    - {measure: error_share, margin: 0.02, prior_sd: 0.02}
    - {measure: e2el_p95, margin: 0.2, prior_sd: 0.2}
# By what tests measured: the server logs no steps, from which the agent (ppo) could know it.
proposer:
  kind: tpe
  observe_s: 300
  min_requests: 100
  pause_s: 300
  retry_s: 1800
  quarantine_s: 604800
"""
