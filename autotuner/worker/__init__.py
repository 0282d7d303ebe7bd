"""The bundled inference worker: its own processes; it imports nothing of the rest of autotuner."""
