"""Synthetic worlds with known facts, and the path from facts to batches of tokens."""
