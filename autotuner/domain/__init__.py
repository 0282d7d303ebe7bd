"""The words of the field as values: no clock, no randomness, no I/O, no logging."""
