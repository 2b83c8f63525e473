"""Prompts with open continuations, and what can be said of whatever was answered."""
