"""Activation patching: what changes when a hidden state is replaced by another."""
