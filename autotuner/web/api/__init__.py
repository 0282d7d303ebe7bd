"""The HTTP API under /api/v1: what is known, as JSON, and wishes to the daemon."""
