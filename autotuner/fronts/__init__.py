"""What the HTTP fronts of the worker and of the proxy share; it imports nothing of the rest."""
