"""A process in front of a vLLM or SGLang server: exposures, live caps, and changes by restart."""
