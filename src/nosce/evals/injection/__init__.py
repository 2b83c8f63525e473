"""Injected states: a concept's direction is added inside the network, and the model is asked whether and which."""
