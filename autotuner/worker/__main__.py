"""`python -m autotuner.worker`."""

if __name__ == "__main__":
    # Under the guard: an engine's process imports this module too, and needs no command line.
    from autotuner.worker.command import main

    main()
