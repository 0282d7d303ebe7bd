"""Any other server with OpenAI's routes: nothing is known of its flags, so that none can change."""

from __future__ import annotations

from autotuner.proxy.engines.kinds.base import Kind

# Some have no /health; all have a list of models.
OPENAI = Kind(name="openai", health_paths=("/health", "/v1/models"), version_paths=("/version",))
