"""Runs the worker alone: `python -m autotuner.worker`."""

from autotuner.worker.command import main

if __name__ == "__main__":
    main()
