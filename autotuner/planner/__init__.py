"""Which hardware a model needs for its traffic, what it would do there and what it would cost."""
