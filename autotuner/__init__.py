"""Autotuner keeps a live LLM inference service at its best settings, and proves it."""

__version__ = "0.1.0"
