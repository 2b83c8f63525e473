"""Behaviour worlds: prompts with open continuations, and properties of the answers (arXiv:2410.13787)."""
