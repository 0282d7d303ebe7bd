"""Open-loop load: what is sent and when is planned beforehand, whatever the server does."""
