"""Alerts: the rules that raise and resolve them, and their delivery from an outbox."""
