"""A first configuration and policy, made to fit the target that is there."""
