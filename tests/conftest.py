"""What all tests share: property tests draw the same examples in every run.

A run that others wait for must not fail by a chance that this change has nothing to do with.
`HYPOTHESIS_PROFILE=explore pytest tests/unit` looks for new counterexamples.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
