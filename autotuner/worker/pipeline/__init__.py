"""From a request's bytes to a request that the engine can run, in five timed stages."""
