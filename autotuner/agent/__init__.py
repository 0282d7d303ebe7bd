"""The tuning agent: simulators of continuous batching, PPO trained in them, and the proposers.

It knows settings, workloads and step times; it must not know the daemon, HTTP or the history.
"""
