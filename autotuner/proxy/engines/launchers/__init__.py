"""The ways to run a server: a command of our own, a systemd unit, a Kubernetes Deployment."""
