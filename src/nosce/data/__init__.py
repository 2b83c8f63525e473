"""Worlds whose truth is known, and the way from their facts to batches of tokens."""
