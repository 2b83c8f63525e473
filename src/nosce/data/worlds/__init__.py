"""Synthetic worlds: facts, the documents that state them and the questions that ask for them."""
