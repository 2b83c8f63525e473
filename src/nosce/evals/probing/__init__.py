"""Probes: what can be read from hidden states, with controls."""
