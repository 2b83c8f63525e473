"""Biographies: people with six attributes each, described in many wordings (arXiv:2309.14316)."""
