"""Forecasts of the metrics and anomaly scores: Prophet with a robust fallback."""
