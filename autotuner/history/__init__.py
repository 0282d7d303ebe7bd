"""The history: what was tried, decided, seen and said, in SQLite or PostgreSQL."""
