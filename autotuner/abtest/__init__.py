"""Sequential A/B tests of a candidate on live traffic: no clock, no randomness, no I/O."""
