"""The architectures that the worker serves."""
