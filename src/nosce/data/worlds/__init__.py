"""Worlds: synthetic truths, the documents that tell them and the questions that ask for them."""
