"""What is tuned: the deployments behind `domain.ports.Target`."""
